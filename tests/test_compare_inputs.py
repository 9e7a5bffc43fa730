"""Inputs that were made to differ by one known step, or by several."""

import numpy as np
import pytest
from video_sets import write

from nonlocal_tf import compare_inputs

cv2 = pytest.importorskip("cv2")

MEAN = np.array([123.675, 116.28, 103.53], np.float32)
DEVIATION = np.array([58.395, 57.12, 57.375], np.float32)


def frames():
    """12 frames of 60 x 48: a smooth picture that moves a little."""
    coarse = np.random.RandomState(0).randint(0, 256, (9, 10, 3))
    image = cv2.resize(coarse.astype(np.uint8), (84, 48),
                       interpolation=cv2.INTER_CUBIC)
    return np.stack([image[:, n:n + 60] for n in range(0, 24, 2)])


SHOWN = frames()
CLIP = SHOWN[:4, 8:40, 14:46]


def compared(tmp_path, capsys, a, b, *more):
    """The exit code, and the lines behind those of the shapes."""
    paths = []
    for name, array in (("a.npy", a), ("b.npy", b)):
        paths.append(str(tmp_path / name))
        np.save(paths[-1], array)
    code = compare_inputs.main(paths + list(more))
    return code, capsys.readouterr().out.splitlines()[2:]


def test_equal_ones(tmp_path, capsys):
    assert compared(tmp_path, capsys, CLIP, CLIP) == (0, ["They are equal."])


@pytest.mark.parametrize("change, line", [
    (lambda x: x.transpose(0, 3, 1, 2), "layout: A [.., T, H, W, 3]; B "
     "[.., T, 3, H, W]"),
    (lambda x: x.transpose(3, 0, 1, 2)[None], "layout: A [.., T, H, W, 3]; B "
     "[.., 3, T, H, W]"),
    (lambda x: x[..., ::-1], "channel order: one is red, green, blue, the "
     "other blue, green, red"),
    (lambda x: x[:, :, ::-1], "flip: one is mirrored"),
    (lambda x: x / np.float32(255), "normalisation: A none; B x / 255"),
    (lambda x: x / np.float32(127.5) - 1,
     "normalisation: A none; B x / 127.5 - 1"),
    (lambda x: ((x - MEAN) / DEVIATION).astype(np.float32),
     "normalisation: A none; B by mean and deviation of mmaction2-1.x, "
     "mmaction2-0.x"),
    (lambda x: ((x - MEAN[::-1]) / DEVIATION[::-1]).astype(np.float32),
     "normalisation: A none; B by mean and deviation of mmaction2-1.x, "
     "mmaction2-0.x, in the order blue, green, red"),
    (lambda x: (x - np.float32(114.75)) / np.float32(57.375), "normalisation: "
     "A none; B by mean and deviation of video-nonlocal-net, paddle"),
    (lambda x: SHOWN[:4, 10:42, 9:41],
     "crop: A begins 5 right of B and -2 below"),
    (lambda x: SHOWN[:4, 8:40, 15:47],
     "crop or size rule: A begins -1 right of B and 0 below"),
    (lambda x: x[[1, 2, 3, 0]],
     "frame index: A's 0 to 3 are nearest to B's 3 0 1 2")])
def test_one_step_is_named_and_nothing_is_left(tmp_path, capsys, change, line):
    code, lines = compared(tmp_path, capsys, CLIP, change(CLIP))
    assert code == 1 and line in lines
    named = [each for each in lines if not each.startswith(("mean", "left"))]
    assert named == [line]
    assert float(lines[-1].split()[-1]) < 1e-3


def test_several_steps_together(tmp_path, capsys):
    other = ((SHOWN[:4, 8:40, 20:52, ::-1] - MEAN) / DEVIATION).astype(
        np.float32)[:, :, ::-1].transpose(3, 0, 1, 2)
    _, lines = compared(tmp_path, capsys, CLIP, other)
    assert [line.split(":")[0] for line in lines if line[:4] != "mean"] == [
        "layout", "normalisation", "channel order", "flip", "crop",
        "left when that is undone"]
    assert float(lines[-1].split()[-1]) < 1e-3


@pytest.mark.parametrize("change, end", [
    (lambda x: x, "whole numbers against floats"),
    (lambda x: x.astype(np.uint8), "B is cut to whole numbers")])
def test_rounding_of_the_resize(tmp_path, capsys, change, end):
    whole, floats = (np.stack([cv2.resize(image, (66, 53)) for image in each])
                     for each in (SHOWN, SHOWN.astype(np.float32)))
    _, lines = compared(tmp_path, capsys, whole, change(floats))
    assert lines[-1].endswith(end) and "rounding of the resize" in lines[-1]


def test_the_order_of_clips(tmp_path, capsys):
    clips = np.stack([SHOWN[n:n + 4] for n in (0, 4, 8)])
    _, lines = compared(tmp_path, capsys, clips, clips[[0, 2, 1]])
    assert lines[-1] == "order of the clips: A's 0 to 2 are B's 0 2 1"


@pytest.mark.parametrize("kind", [np.int64, np.float32])
def test_equal_values_of_another_type(tmp_path, capsys, kind):
    assert compared(tmp_path, capsys, CLIP, CLIP.astype(kind)) == (
        0, ["Their values are equal, their types are not."])


@pytest.mark.parametrize("change", [
    lambda x: x, lambda x: ((x - MEAN) / DEVIATION).astype(np.float32)])
def test_clips_after_the_first_count_too(tmp_path, capsys, change):
    shown = np.stack([SHOWN[n:n + 4] for n in (0, 2, 4, 6, 8)])
    a, b = shown[:, :, 8:40, 14:46], shown[:, :, 8:40, 14:46].copy()
    b[[2, 4]] = shown[[2, 4], :, 8:40, 11:43]
    code, lines = compared(tmp_path, capsys, a, change(b))
    assert code == 1
    assert "clips: 2 of 5 differ; below is the first of them, number 2 " \
        "(from 0)" in lines
    assert "crop: A begins 3 right of B and 0 below" in lines


def test_another_number_of_clips(tmp_path, capsys):
    assert compared(tmp_path, capsys, np.stack([CLIP] * 3), CLIP) == (1, [
        "number of clips: A 3; B 1", "mean difference 0, in grey levels",
        "left: 0"])


@pytest.fixture
def video(tmp_path):
    return write(tmp_path / "a.avi", SHOWN)


def resized(numbers, interpolation, width=40):
    """Of a short side of 32 pixels; a crop in the middle."""
    images = np.stack([cv2.resize(
        SHOWN[n], (width, 32), interpolation=interpolation) for n in numbers])
    x = (width - 32) // 2
    return images[:, :, x:x + 32]


def test_a_video_tells_frames_and_interpolation(tmp_path, capsys, video):
    _, lines = compared(
        tmp_path, capsys, resized([1, 4, 7, 10], cv2.INTER_LINEAR),
        resized([2, 4, 7, 10], cv2.INTER_CUBIC)[..., ::-1], "--video", video)
    assert lines == [
        "size: A 40 x 32; B 40 x 32",
        "differs: interpolation: A linear; B cubic",
        "differs: channels: A red, green, blue; B blue, green, red",
        "crop: A at 4, 0; B at 4, 0",
        "differs: frames: A 1 4 7 10 (mmaction2-1.x tsm clip 1 of 1; "
        "mmaction2-0.x tsm clip 1 of 1); B 2 4 7 10",
        "left of each, in grey levels: A 0; B 0"]


def test_the_clips_that_differ_are_sought_in_the_video(
        tmp_path, capsys, video):
    same = resized([1, 4, 7, 10], cv2.INTER_LINEAR)
    _, lines = compared(
        tmp_path, capsys, np.stack([same, same]), np.stack([
            same, resized([2, 4, 7, 10], cv2.INTER_LINEAR)]), "--video", video)
    assert lines[0].startswith("clips: 1 of 2 differ")
    assert [line.split(":")[1] for line in lines if "differs" in line] == [
        " frames"]


def test_what_is_not_of_the_video_is_told(tmp_path, capsys, video):
    _, lines = compared(
        tmp_path, capsys, resized([1, 4, 7, 10], cv2.INTER_LINEAR),
        np.random.RandomState(0).randint(0, 256, (4, 32, 32, 3)), "--video",
        video)
    assert "above 2 it is of another video" in lines[-1]


@pytest.mark.parametrize("array, words", [
    (np.zeros((4, 8, 8, 2), np.uint8), "must have clips"),
    (np.zeros((8, 8, 3), np.uint8), "must have clips"),
    (np.zeros((0, 4, 8, 8, 3), np.uint8), "must have clips"),
    (np.zeros((4, 8, 8, 3), complex), "must have clips"),
    (np.full((4, 32, 32, 3), np.nan), "finite numbers"),
    (CLIP[:3], "clips of one shape"), (CLIP[:, :30], "clips of one shape"),
    (np.array([{}]), "Python objects")])
def test_what_cannot_be_compared(tmp_path, capsys, array, words):
    np.save(str(tmp_path / "a.npy"), CLIP)
    np.save(str(tmp_path / "b.npy"), array)
    assert compare_inputs.main(
        [str(tmp_path / "a.npy"), str(tmp_path / "b.npy")]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1
