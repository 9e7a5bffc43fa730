"""The moving digits: what a video shows, and the folder that holds them."""

import hashlib
import os
import sys

import numpy as np
import pytest
import tensorflow as tf
from support import graph_session, random_values, set_values

from nonlocal_tf.data.digits import digits
from nonlocal_tf.data.video import decode, moving_digits
from nonlocal_tf.errors import UserError
from nonlocal_tf.networks.video import VideoResNet

pytest.importorskip("cv2")
pytest.importorskip("sklearn")

# By label; y downwards.
STEPS = [(1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1)]


@pytest.fixture(scope="module", autouse=True)
def few():
    """Two videos of each direction in each part."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(moving_digits, "VIDEOS", {"train": 16, "test": 16})
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("data") / "moving")
    moving_digits.make(folder)
    return folder


@pytest.fixture(scope="module")
def train_digits():
    return digits()[:2]


def listed(folder, part):
    with open(os.path.join(folder, part + ".txt")) as file:
        lines = [line.rsplit(" ", 1) for line in file.read().splitlines()]
    return [(os.path.join(folder, path), int(label)) for path, label in lines]


def contents(folder):
    found = {}
    for where, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(where, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, folder)] = hashlib.sha256(
                    file.read()).hexdigest()
    return found


def centres(frames):
    """x and y of the centre of mass of each frame [T, H, W]."""
    frames = frames.astype(float)
    mass = frames.sum((1, 2))
    return np.stack([
        (frames.sum(1) * np.arange(frames.shape[2])).sum(1) / mass,
        (frames.sum(2) * np.arange(frames.shape[1])).sum(1) / mass], 1)


@pytest.mark.parametrize("part", ["train", "test"])
def test_files_move_in_the_direction_of_their_class(folder, part):
    for path, label in listed(folder, part):
        found, video = decode.frames(path, np.arange(24))
        assert video == (24, 24, 10.0, 64, 64, 0)
        moves = np.diff(centres(found[..., 0]), axis=0)
        # 20 to 45 of 32 pixels a frame; compression moves the centre a bit.
        for move, step in zip(moves.T, STEPS[label]):
            speed = step * move.mean()
            assert 0.6 < speed < 1.45 if step else abs(speed) < 0.02
            np.testing.assert_allclose(move, move.mean(), atol=0.25)


def test_the_names_of_the_classes_are_in_the_order_of_the_labels(folder):
    with open(os.path.join(folder, "classes.txt")) as file:
        assert file.read().splitlines() == [
            "right", "down right", "down", "down left", "left", "up left",
            "up", "up right"]


def test_whole_pixels_move_and_halves_are_means():
    image = np.zeros((30, 30), int)
    image[5, 7] = 200
    frame = moving_digits._frame(image, 64 * 10 + 32, 64 * 36)
    expected = np.zeros((64, 64), int)
    expected[36 + 4, 10 + 6:10 + 8] = 100
    np.testing.assert_array_equal(frame, expected)


def test_digits_are_seen_whole_all_the_time(train_digits):
    for index in range(80):
        frames = moving_digits.video(*train_digits, "train", index)
        sums = frames.sum((1, 2), dtype=int)
        assert sums.max() - sums.min() < 0.01 * sums.max()


def test_a_video_backwards_is_one_of_the_opposite_direction(
        train_digits, monkeypatch):
    """The same draws with all directions turned round."""
    indices = range(0, 80, 3)
    videos = [moving_digits.video(*train_digits, "train", index)
              for index in indices]
    monkeypatch.setattr(moving_digits, "DIRECTIONS", dict(enumerate(
        (-x, -y) for x, y in moving_digits.DIRECTIONS.values())))
    for index, video in zip(indices, videos):
        np.testing.assert_array_equal(
            moving_digits.video(*train_digits, "train", index), video[::-1])


@pytest.mark.parametrize("protocol, network, interval, is_blind", [
    ("video-nonlocal-net", "c2d", 8, True),
    ("video-nonlocal-net", "i3d", 8, False),
    ("mmaction2-1.x", "tsm", 0, False)])
def test_c2d_answers_the_same_to_a_clip_backwards(
        protocol, network, interval, is_blind, train_digits, shallow):
    clip = moving_digits.video(*train_digits, "train", 0)[::3]
    clip = np.repeat(clip[None, ..., None] / 128.0 - 1, 3, axis=-1)
    with graph_session() as session:
        made = VideoResNet(
            protocol, network, placement={"res3": (0,), "res4": (0,)},
            classes=8, frames=8, interval=interval, image_size=64,
            base_width=8)
        logits = made(tf.constant(
            np.concatenate([clip, clip[:, ::-1]]), tf.float32),
            is_training=False)
        set_values(session, random_values(made.variables, 0))
        forward, backward = session.run(logits)
    difference = np.abs(forward - backward).max() / np.ptp(forward)
    assert difference < 1e-5 if is_blind else difference > 1e-3


def test_directions_and_digits_are_balanced(monkeypatch):
    """Images that are all equal to their label tell which one was taken."""
    images = np.repeat(np.arange(10), 3).reshape(30, 1, 1, 1) + np.zeros(
        (1, 28, 28, 1), int)
    found = [(index % 8, int(moving_digits.video(
        images, images[:, 0, 0, 0], "test", index).max()))
        for index in range(160)]
    assert {pair: found.count(pair) for pair in found} == {
        (label, digit): 2 for label in range(8) for digit in range(10)}


def test_lists_are_balanced_and_share_no_file(folder):
    train, test = listed(folder, "train"), listed(folder, "test")
    for part in (train, test):
        assert [label for _, label in part] == list(range(8)) * 2
    assert not {path for path, _ in train} & {path for path, _ in test}


def test_each_part_has_its_own_digits(monkeypatch, tmp_path):
    seen = {}
    monkeypatch.setattr(
        moving_digits, "_write", lambda folder, part, images, labels:
        seen.update({part: {image.tobytes() for image in images}}))
    moving_digits.make(str(tmp_path / "new"))
    assert len(seen["train"]) > 1400 and len(seen["test"]) > 350
    assert not seen["train"] & seen["test"]


def test_written_twice_the_files_are_the_same(folder, tmp_path):
    moving_digits.make(str(tmp_path / "again"))
    assert contents(str(tmp_path / "again")) == contents(folder)


def test_a_set_that_is_there_is_left_as_it_is(folder, monkeypatch):
    monkeypatch.setattr(moving_digits, "_write", None)
    assert moving_digits.make(folder) == (
        os.path.join(folder, "train.txt"), os.path.join(folder, "test.txt"))


def test_an_interrupted_set_is_not_there_and_then_whole(
        folder, tmp_path, monkeypatch):
    new, written = str(tmp_path / "new"), []

    def interrupted(path):
        written.append(path)
        if len(written) == 3:
            raise KeyboardInterrupt
        return decode.inspect(path)

    with monkeypatch.context() as patch:
        patch.setattr(moving_digits, "inspect", interrupted)
        with pytest.raises(KeyboardInterrupt):
            moving_digits.make(new)
    assert all(name[0] == "." for name in os.listdir(str(tmp_path)))
    moving_digits.make(new)
    os.remove(os.path.join(new, "train", "up", "006.avi"))
    moving_digits.make(new)
    assert contents(new) == contents(folder)


@pytest.mark.parametrize("name", [
    "train.txt", "classes.txt", "train", "mine.txt"])
def test_a_folder_of_something_else_is_refused(name, tmp_path):
    (tmp_path / name).write_text("mine")
    with pytest.raises(UserError, match="a folder of their own") as error:
        moving_digits.make(str(tmp_path))
    assert "\n" not in str(error.value)
    assert (tmp_path / name).read_text() == "mine"


def test_what_lies_in_a_broken_set_is_not_removed(folder, tmp_path):
    (tmp_path / "classes.txt").write_text(moving_digits._CLASSES)
    (tmp_path / "output").mkdir()
    with pytest.raises(UserError, match="a folder of their own"):
        moving_digits.make(str(tmp_path))


@pytest.mark.parametrize("module, package", [
    ("cv2", "opencv-python-headless"), ("sklearn.datasets", "scikit-learn")])
def test_a_missing_package_is_named(module, package, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match="pip install .*" + package):
        moving_digits.make(str(tmp_path / "new"))
    assert all(name[0] == "." for name in os.listdir(str(tmp_path)))


def test_a_disk_that_is_full_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(moving_digits, "inspect", lambda path: decode.inspect(
        path)._replace(count=23))
    with pytest.raises(UserError, match="Make room"):
        moving_digits.make(str(tmp_path / "new"))
    assert all(name[0] == "." for name in os.listdir(str(tmp_path)))
