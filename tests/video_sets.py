"""Lists of small videos that can be learnt, for several tests."""

import numpy as np

from nonlocal_tf.data.video.opencv import opencv

SIDE = 36


def write(path, images, codec="FFV1"):
    """A video of images [T, H, W, 3]; FFV1 loses nothing. Returns its path."""
    cv2 = opencv()
    writer = cv2.VideoWriter(
        str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*codec), 25,
        images.shape[2:0:-1])
    for image in images:
        writer.write(np.ascontiguousarray(image[..., ::-1]))
    writer.release()
    return str(path)


def write_set(folder, train=22, test=6, frames=9):
    """Videos of two classes, dark and bright; paths of two lists."""
    random = np.random.RandomState(0)
    lists = []
    for part, count in (("train", train), ("test", test)):
        lines = []
        for index in range(count):
            images = random.randint(0, 100, (frames, SIDE, SIDE + 8, 3))
            images += 150 * (index % 2)
            name = "{} {}.avi".format(part, index)
            write(folder / name, images.astype(np.uint8))
            lines.append("{} {}\n".format(name, index % 2))
        path = folder / (part + ".txt")
        path.write_text("".join(lines))
        lists.append(str(path))
    return lists
