"""Video files decoded, and their clips, against what is known of them."""

import hashlib
import os
import sys

import numpy as np
import pytest
import support
from video_sets import write

from nonlocal_tf.data.video import decode, views
from nonlocal_tf.errors import UserError
from nonlocal_tf.protocols import PROTOCOLS

cv2 = pytest.importorskip("cv2")

CLIPS = os.path.join(support.ROOT, "..", "shared", "data", "video")
real = pytest.mark.skipif(
    not os.path.isdir(CLIPS), reason="no real clips in ../shared/data/video")


def clip(name):
    return os.path.join(CLIPS, name)


@pytest.fixture(scope="module")
def images():
    """40 frames of 340 x 256, of coarse noise, each with its own."""
    coarse = np.random.RandomState(0).randint(0, 256, (40, 8, 10, 3))
    return coarse.astype(np.uint8).repeat(32, 1).repeat(34, 2)


@pytest.fixture(scope="module")
def path(images, tmp_path_factory):
    return write(tmp_path_factory.mktemp("video") / "whole.avi", images)


def cut(path, target, share):
    with open(path, "rb") as file:
        data = file.read()
    target.write_bytes(data[:int(share * len(data))])
    return str(target)


def test_a_whole_video(path):
    video = decode.inspect(path)
    assert video == (40, 40, 25.0, 340, 256, 0)
    assert str(video) == "40 frames of 340 x 256, 25 a second"
    assert not video.truncated


@pytest.mark.parametrize("codec, ending", [("mp4v", "mp4"), ("MJPG", "avi")])
def test_lossy_videos(images, tmp_path, codec, ending):
    path = write(tmp_path / ("a." + ending), images, codec)
    found, video = decode.frames(path, [3, 39])
    assert video.count == video.header == 40
    # Coarse blocks survive compression; another frame differs by 80.
    assert np.abs(found.astype(int) - images[[3, 39]]).mean() < 20


def test_frames_are_those_asked_for_in_any_order(path, images):
    wanted = np.array([[7, 0, 7], [39, 38, 1]])
    found, video = decode.frames(path, wanted)
    np.testing.assert_array_equal(found, images[wanted])
    assert video.count == 40


def test_nothing_is_decoded_behind_the_last_frame(path, monkeypatch):
    video, grabbed = decode.inspect(path), []
    opened = cv2.VideoCapture

    def counting(*arguments):
        capture = opened(*arguments)

        class Counting:
            grab = staticmethod(lambda: grabbed.append(0) or capture.grab())
            read = staticmethod(lambda: grabbed.append(1) or capture.read())

            def __getattr__(self, name):
                return getattr(capture, name)
        return Counting()

    monkeypatch.setattr(cv2, "VideoCapture", counting)
    decode.frames(path, [2, 4], video)
    assert grabbed == [0, 0, 1, 0, 1]


def test_more_frames_than_there_are(path):
    with pytest.raises(UserError, match="must have 64 frames; it has 40"):
        decode.frames(path, [63])


def test_a_video_of_one_frame(images, tmp_path):
    path = write(tmp_path / "one.avi", images[:1])
    assert str(decode.inspect(path)).startswith("1 frame of 340 x 256")
    row = PROTOCOLS["mmaction2-0.x"]
    found = views.test_views(path, row, row.networks["tsm"].views)
    assert found.shape == (1, 8, 224, 224, 3)
    assert (found == found[:, :1]).all()


def test_a_video_cut_in_half_says_so(path, images, tmp_path):
    half = cut(path, tmp_path / "half.avi", 0.5)
    video = decode.inspect(half)
    assert 15 <= video.count <= 21 and video.header == 40
    assert video.truncated
    assert str(video).endswith(
        ", 40 by its header: cut off, damaged or of uneven rate")
    last = video.count - 2          # the one behind it is cut itself
    np.testing.assert_array_equal(
        decode.frames(half, [last])[0], images[[last]])


def test_a_file_that_shrinks_after_it_was_counted(path, tmp_path):
    half = cut(path, tmp_path / "half.avi", 0.5)
    with pytest.raises(UserError, match="frame 39 is missing"):
        decode.frames(half, [0, 39], decode.inspect(path))


@pytest.mark.parametrize("data, message", [
    (b"", "it is empty"), (b"no video\n" * 50, "its 450 bytes are none")])
def test_what_is_no_video(tmp_path, data, message):
    path = tmp_path / "a.mp4"
    path.write_bytes(data)
    with pytest.raises(UserError, match=message) as error:
        decode.inspect(str(path))
    assert "\n" not in str(error.value) and str(path) in str(error.value)


def test_an_mp4_without_its_end(images, tmp_path):
    whole = write(tmp_path / "a.mp4", images[:9], "mp4v")
    with pytest.raises(UserError, match="or it is cut off"):
        decode.inspect(cut(whole, tmp_path / "half.mp4", 0.5))


def test_no_file_and_a_folder(tmp_path):
    with pytest.raises(UserError, match="No such file"):
        decode.inspect(str(tmp_path / "none.mp4"))
    with pytest.raises(UserError, match="Is a directory"):
        decode.inspect(str(tmp_path))


def test_without_opencv_it_is_named(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(UserError, match="-m pip install 'opencv-python-head"):
        decode.inspect(path)


def test_files_are_counted_once(path, tmp_path, monkeypatch):
    counts = decode.Counts(str(tmp_path / "counts.json"))
    first = counts.video(path)
    counts.save()
    monkeypatch.setattr(decode, "inspect", None)
    again = decode.Counts(str(tmp_path / "counts.json"))
    assert again.video(path) == first == (40, 40, 25.0, 340, 256, 0)
    assert os.listdir(str(tmp_path)) == ["counts.json"]


def test_a_changed_file_is_counted_anew(images, tmp_path):
    counts = decode.Counts(str(tmp_path / "counts.json"))
    path = write(tmp_path / "a.avi", images[:5])
    assert counts.video(path).count == 5
    write(path, images[:6])
    assert counts.video(path).count == 6
    status = os.stat(path)
    os.utime(path, ns=(0, status.st_mtime_ns + 1))
    counts.save()
    assert decode.Counts(str(tmp_path / "counts.json")).video(path).count == 6


def test_counts_of_another_decoder_are_not_taken(
        path, tmp_path, monkeypatch):
    counts = decode.Counts(str(tmp_path / "counts.json"))
    counts.video(path)
    monkeypatch.setattr(decode, "decoder", lambda: "another")
    counts.save()
    monkeypatch.undo()
    counts = decode.Counts(str(tmp_path / "counts.json"))
    monkeypatch.setattr(decode, "inspect", lambda path: (7,) * 6)
    assert counts.video(path).count == 7


@pytest.mark.parametrize("text", ["", "[]", "{}"])
def test_counts_that_are_none_count_for_nothing(path, tmp_path, text):
    (tmp_path / "counts.json").write_text(text)
    counts = decode.Counts(str(tmp_path / "counts.json"))
    assert counts.video(path).count == 40


@pytest.mark.parametrize("system, clip_first", [
    ("video-nonlocal-net", False), ("paddle", True)])
def test_thirty_views_in_the_systems_order(path, images, system, clip_first):
    row = PROTOCOLS[system]
    found = views.test_views(path, row, row.networks["c2d"].views)
    assert found.shape == (30, 8, 256, 256, 3) and found.dtype == np.uint8
    for number, view in enumerate(found):
        k, crop = divmod(number, 3) if clip_first else divmod(number, 10)[::-1]
        clip = (4 * k + 8 * np.arange(8)) % 40
        x = (0, 42, 84)[crop]
        np.testing.assert_array_equal(view, images[clip][:, :, x:x + 256])


def test_ten_views_of_tsm(path, images):
    row = PROTOCOLS["mmaction2-1.x"]
    found = views.test_views(path, row, row.networks["tsm"].views)
    clip = images[[2, 7, 12, 17, 22, 27, 32, 37]]
    assert found.shape == (10, 8, 224, 224, 3)
    np.testing.assert_array_equal(found[0], clip[:, :224, :224])
    np.testing.assert_array_equal(
        found[3], clip[:, :224, 116:340][:, :, ::-1])
    np.testing.assert_array_equal(found[8], clip[:, 16:240, 58:282])


def test_frames_are_resized_as_opencv_does_it(images, tmp_path):
    path = write(tmp_path / "small.avi", images[:, :240, :320])
    row = PROTOCOLS["mmaction2-0.x"]
    found = views.test_views(path, row, row.networks["tsm"].views)
    image = np.ascontiguousarray(images[2, :240, :320])
    np.testing.assert_array_equal(
        found[0, 0], cv2.resize(image, (341, 256))[16:240, 58:282])


def test_explain_says_each_step(path):
    row = PROTOCOLS["mmaction2-0.x"]
    text = views.explain(
        row, row.networks["tsm"].views, decode.inspect(path))
    assert text == [
        "decoded by OpenCV {}: 40 frames of 340 x 256, 25 a second".format(
            cv2.__version__),
        "frames: the middle of each of 8 equal parts",
        "  2 7 12 17 22 27 32 37",
        "resized to 340 x 256 (half_up), linear",
        "cut 224 x 224 at x, y: 58, 16",
        "1 views, uint8: of each crop all clips",
        "in the graph: (x - (123.675, 116.28, 103.53)) / "
        "(58.395, 57.12, 57.375)"]
    longer = row.networks["i3d"].views
    assert any("of 64 frames, more than the video has" in line
               for line in views.explain(row, longer, decode.inspect(path)))


def train(path, system, network, seed=1, epoch=2, index=3):
    row = PROTOCOLS[system]
    return views.train_clip(
        path, row, row.networks[network], 224, seed, epoch, index)


@pytest.mark.parametrize("system, network", [
    ("video-nonlocal-net", "c2d"), ("paddle", "c2d"),
    ("mmaction2-1.x", "tsm"), ("mindspore", "i3d")])
def test_a_training_clip_depends_on_seed_epoch_and_index(
        path, system, network):
    first = train(path, system, network)
    frames = PROTOCOLS[system].networks[network].views.frames
    assert first.shape == (frames, 224, 224, 3) and first.dtype == np.uint8
    np.testing.assert_array_equal(first, train(path, system, network))
    for other in (dict(seed=2), dict(epoch=3), dict(index=4)):
        assert (first != train(path, system, network, **other)).any()


def test_training_clips_show_squares_and_oblongs_half_of_them_mirrored(
        tmp_path):
    """Red tells the column, green the row that a pixel comes from."""
    y, x = np.mgrid[:256, :340]
    path = write(tmp_path / "a.avi", np.broadcast_to(
        np.stack([x * 255 // 340, y, 0 * x], -1).astype(np.uint8),
        (2, 256, 340, 3)))
    mirrored = 0
    for index in range(20):
        clip = train(path, "mmaction2-0.x", "tsm", index=index)
        np.testing.assert_array_equal(clip[0], clip[-1])
        first, last = clip[0, 0, 0].astype(int), clip[0, -1, -1].astype(int)
        width, height = abs(last - first)[:2] * (340 / 255.0, 1)
        nearest = [np.argmin(np.abs(np.subtract((256, 224, 192, 168), side)))
                   for side in (width, height)]
        assert abs(nearest[0] - nearest[1]) <= 1 and last[1] > first[1]
        mirrored += first[0] > last[0]
    assert 4 <= mirrored <= 16


SHA1 = [
    ("mmaction2_rawvideo_part_0.mp4", 32, "ddf3993699"),
    ("paddlevideo_example.avi", 131, "5985b8521a"),
    ("ucf101_v_ApplyEyeMakeup_g01_c01.avi", 164, "ea252fa5db"),
    ("ucf101_v_BaseballPitch_g01_c01.avi", 107, "68f7df0ac8"),
    ("mmcv_test.mp4", 168, "cf7ade4832"),
    ("kinetics_i3d_v_CricketShot_g04_c01_rgb.gif", 79, "4b064cde04")]
SHA1 += [pytest.param(*row, marks=pytest.mark.slow) for row in (
    ("mmaction2_demo.mp4", 280, "e980cd1d04"),
    ("mmaction2_test.mp4", 300, "72de20cd8d"),
    ("decord_flipping_a_pancake.mkv", 310, "d9976d8e48"),
    ("stgcn_skateboarding.mp4", 300, "3182e53b06"),
    ("stgcn_ta_chi.mp4", 300, "078d3b2faa"),
    ("stgcn_clean_and_jerk.mp4", 300, "432c94953e"),
    ("video_features_v_GGSY1Qvo990.mp4", 355, "b0918d0d57"),
    ("video_features_v_ZNVhz7ctTq0.mp4", 420, "0c00746642"))]


def sha1(path):
    """Frames, and the beginning of a hash of all their bytes."""
    digest = hashlib.sha1()

    def change(image):
        digest.update(image)
        return image[:1, :1]

    video = decode.inspect(path)
    decode.frames(path, np.arange(video.count), video, change)
    return video, digest.hexdigest()[:10]


@real
@pytest.mark.parametrize("name, count, expected", SHA1)
def test_real_clips_have_the_pixels_of_other_decoders(name, count, expected):
    video, found = sha1(clip(name))
    assert (video.count, found) == (count, expected)
    assert not video.truncated


@real
@pytest.mark.parametrize("turn, size", [
    (0, (568, 320)), (90, (320, 568)), (180, (568, 320)), (270, (320, 568))])
def test_rotation_is_applied(turn, size):
    name = clip("decord_rot_{}.mov".format(turn))
    found, video = decode.frames(name, [1])
    assert (video.rotation, video.width, video.height) == (turn,) + size
    capture = cv2.VideoCapture(name)
    capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)
    capture.read()
    stored = capture.read()[1][..., ::-1]
    np.testing.assert_array_equal(found[0], np.rot90(stored, -turn // 90))


@real
@pytest.mark.skipif(cv2.__version__.split(".")[0] != "4",
                    reason="OpenCV 5 heeds the tag BT.709 of these files")
def test_opencv_4_takes_bt601_whatever_the_tag():
    assert sha1(clip("decord_rot_0.mov"))[1] == "5b848a80a1"


@real
@pytest.mark.parametrize("name, count, header, truncated", [
    ("decord_corrupted.mp4", 28, 50, True),
    ("decord_unordered.mov", 4, 4, False),
    ("decord_flipping_a_pancake.mkv", 310, 311, False)])
def test_damaged_and_odd_files(name, count, header, truncated):
    video = decode.inspect(clip(name))
    assert (video.count, video.header) == (count, header)
    assert video.truncated == truncated


@real
@pytest.mark.parametrize("name, count, header", [
    ("ucf101_v_BaseballPitch_g01_c01.avi", 49, 107),
    ("decord_flipping_a_pancake.mkv", 150, 311)])
def test_real_clips_cut_in_half(tmp_path, name, count, header):
    path = cut(clip(name), tmp_path / name, 0.5)
    video = decode.inspect(path)
    assert (video.count, video.header) == (count, header)
    assert video.truncated
