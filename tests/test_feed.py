"""Lists of videos to batches: the same whatever the threads, none dropped."""

import os
import shutil

import numpy as np
import pytest
from video_sets import write_set

from nonlocal_tf.data.video import feed
from nonlocal_tf.errors import UserError
from nonlocal_tf.training.config import TrainConfig

pytest.importorskip("cv2")


@pytest.fixture(scope="module")
def lists(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp("videos"))


def config(lists, **more):
    return TrainConfig(**dict(dict(
        network="tsm", data_url=lists[0], test_url=lists[1], image_size=32,
        batch_size=4, classes=2, seed=3), **more))


def batches(lists, epoch=2, start=0, rank=0, ranks=1, **more):
    settings = config(lists, **more)
    return list(feed.train_batches(
        settings, feed.load(settings), epoch, start, rank, ranks))


def assert_same(found, expected):
    assert len(found) == len(expected)
    for (clips, labels), (others, other_labels) in zip(found, expected):
        np.testing.assert_array_equal(clips, others)
        np.testing.assert_array_equal(labels, other_labels)


@pytest.fixture(scope="module")
def whole(lists):
    return batches(lists)


def test_a_batch_has_clips_and_their_labels(whole):
    assert len(whole) == 5                              # 22 videos by 4
    for clips, labels in whole:
        assert clips.shape == (4, 8, 32, 32, 3) and clips.dtype == np.uint8
        assert labels.dtype == np.int32
        np.testing.assert_array_equal(clips.mean((1, 2, 3, 4)) > 120, labels)


@pytest.mark.parametrize("workers", [1, 5])
def test_the_number_of_threads_changes_nothing(lists, whole, workers):
    assert_same(batches(lists, workers=workers), whole)


def test_the_rest_of_an_epoch(lists, whole):
    assert_same(batches(lists, start=3), whole[3:])


def test_processes_share_the_batches_of_one(lists):
    one = batches(lists, batch_size=8)
    for rank in (0, 1):
        found = batches(lists, rank=rank, ranks=2)
        for (clips, _), (all_clips, _) in zip(found, one):
            np.testing.assert_array_equal(
                clips, all_clips[4 * rank:4 * rank + 4])


def test_seed_and_epoch_decide(lists, whole):
    for more in ({"seed": 4}, {"epoch": 3}):
        assert not np.array_equal(batches(lists, **more)[0][0], whole[0][0])


def test_mirrored_clips_only_where_asked(lists, whole):
    plain = batches(lists, flip=False)
    mirrored = 0
    for (clips, _), (others, _) in zip(whole, plain):
        for clip, other in zip(clips, others):
            if not np.array_equal(clip, other):
                np.testing.assert_array_equal(clip, other[:, :, ::-1])
                mirrored += 1
    assert 4 <= mirrored <= 16


@pytest.fixture
def spoilt(lists, tmp_path):
    """Lists of a copy, and a function that spoils videos there."""
    folder = tmp_path / "copy"
    shutil.copytree(os.path.dirname(lists[0]), str(folder))

    def spoil(*names):
        for name in names:
            (folder / (name + ".avi")).write_text("no video")
    return [str(folder / os.path.basename(path)) for path in lists], spoil


def test_an_unreadable_video_is_replaced_by_the_next(spoilt):
    lists, spoil = spoilt
    settings = config(lists, batch_size=1)
    order = feed.batches.epoch_order(3, 1, 22)
    before = [clips for clips, _ in batches(lists, 1, batch_size=1)]
    spoil("train {}".format(order[2]))
    data = feed.load(settings)
    found = list(feed.train_batches(settings, data, 1, 0, 0, 1))
    np.testing.assert_array_equal(found[2][0], before[3])
    np.testing.assert_array_equal(found[3][0], before[3])
    assert found[2][1] == order[3] % 2
    lines = feed.remarks(settings, data)
    assert lines[0].startswith(
        "Videos that could not be read since this start: 1 of 22 for training")
    assert "train {}.avi".format(order[2]) in lines[1]


def test_short_and_truncated_videos_are_taken_and_named(spoilt):
    lists, _ = spoilt
    path = lists[0].replace("train.txt", "test 1.avi")
    with open(path, "rb") as file:
        half = file.read()
    with open(path, "wb") as file:
        file.write(half[:len(half) // 2])
    settings = config(lists, network="i3d", frames=8, frame_interval=2)
    data = feed.load(settings)
    assert sum(valid for _, _, valid in feed.test_batches(
        settings, data, 4, 0, 1)) == 6
    truncated, short = feed.remarks(settings, data)
    assert "as far as they go: 1, such as " + path in truncated
    assert "9 by its header" in truncated
    assert "came again: 6, such as " in short           # 9 frames of 16


def test_more_than_a_tenth_stops(spoilt):
    lists, spoil = spoilt
    spoil("train 1", "train 5")
    assert len(batches(lists)) == 5                     # 2 of 22
    spoil("train 6")
    with pytest.raises(UserError, match="3 of 22 training videos cannot"):
        batches(lists)


def test_unreadable_test_videos_are_left_out_and_noted(spoilt):
    lists, spoil = spoilt
    spoil("test 3")
    settings = config(lists)
    data = feed.load(settings)
    found = list(feed.test_batches(settings, data, 4, 0, 1))
    assert [valid for _, _, valid in found] == [4, 1]
    assert not found[1][0][1:].any()
    np.testing.assert_array_equal(found[0][1], [0, 1, 0, 0])
    assert len(data.unreadable) == 1


def test_the_fingerprint_is_of_order_and_labels(lists, tmp_path):
    expected = feed.fingerprint(feed.load(config(lists)))
    text = open(lists[0]).read()
    other = tmp_path / "train.txt"
    root = lists[0].rpartition("/")[0]
    for change, same in ((text, True), (text.replace("1.avi 1", "1.avi 0", 1),
                                        False)):
        other.write_text(change)
        found = feed.fingerprint(feed.load(config(
            [str(other), lists[1]], video_root=root)))
        assert (found == expected) == same


@pytest.mark.parametrize("more, text", [
    ({"data_url": ""}, "--data_url must be a list of training videos"),
    ({"test_url": ""}, "--test_url must be a list of test videos"),
])
def test_lists_that_are_not_given(lists, more, text):
    with pytest.raises(UserError, match=text):
        feed.load(TrainConfig(**dict({"network": "tsm", "data_url": lists[0],
                                      "test_url": lists[1]}, **more)))


def test_too_few_classes(lists):
    settings = config(lists, classes=None)
    assert feed.settled(settings, feed.load(settings)).classes == 2


def test_names_that_are_no_utf_8(lists, tmp_path):
    data = feed.load(config(lists))
    data.train = data.train._replace(paths=("\udce9.avi",) * 22)
    assert len(feed.fingerprint(data)) == 8


def test_one_class_is_refused(lists, tmp_path):
    path = tmp_path / "one.txt"
    path.write_text("a.avi 0\n")
    settings = config([str(path)] * 2, classes=None)
    with pytest.raises(UserError, match="--classes must be 2 or more"):
        feed.settled(settings, feed.load(settings))
