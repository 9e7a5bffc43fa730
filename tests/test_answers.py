"""What is taken of a video, and its answers, against arithmetic by hand."""

import os
import tracemalloc

import numpy as np
import pytest
from test_videos import CLIPS, real
from video_sets import write

from nonlocal_tf import answers
from nonlocal_tf.data.video import decode, views
from nonlocal_tf.data.video.resize import resized_size
from nonlocal_tf.errors import UserError
from nonlocal_tf.protocols import PROTOCOLS
from nonlocal_tf.training.config import TrainConfig


def config(network, image_size=32, **settings):
    return TrainConfig(network=network, image_size=image_size, **settings)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """40 frames of 48 x 40; frame n is 6 n everywhere."""
    levels = (6 * np.arange(40)).astype(np.uint8)
    return write(tmp_path_factory.mktemp("video") / "levels.avi",
                 np.broadcast_to(levels[:, None, None, None], (40, 40, 48, 3)))


def levels(batch):
    """A network of one class: the sum of the frames' numbers."""
    return batch[:, :, 0, 0, 0].astype(float).sum(1, keepdims=True) / 6


@pytest.mark.parametrize("network, size, flags, short, crop, clips, crops", [
    ("tsm", 224, {}, 256, 224, 1, 10),
    ("tsm", 224, {"views": "1x3"}, 256, 256, 1, 3),
    ("tsm", 224, {"protocol": "mmaction2-0.x"}, 256, 224, 1, 1),
    ("c2d", 224, {}, 256, 256, 10, 3),
    ("c2d", 224, {"views": "2x10"}, 256, 224, 2, 10),
    ("c2d", 224, {"views": "5x1"}, 256, 256, 5, 1),
    ("tsm", 63, {}, 72, 63, 1, 10),     # 256 * 63 / 224 is 72
    ("c2d", 35, {}, 40, 40, 10, 3),
    ("c2d", 32, {}, 37, 37, 10, 3),     # 36.57
    ("tsm", 224, {"flip": False}, 256, 224, 1, 5),      # none is mirrored
    ("tsm", 224, {"flip": False, "views": "1x10"}, 256, 224, 1, 5),
    ("c2d", 224, {"flip": False, "views": "2x10"}, 256, 224, 2, 5),
    ("c2d", 224, {"flip": False}, 256, 256, 10, 3)])
def test_what_is_taken(network, size, flags, short, crop, clips, crops):
    flags = dict(flags)
    settings = config(network, size, flip=flags.pop("flip", None))
    plan = answers.plan(settings, **flags)
    assert plan.views.short_side == short
    assert (plan.views.crop_size, plan.views.clips, plan.views.crops) == (
        crop, clips, crops)
    assert plan.count == clips * crops
    assert "times {} crop".format(crops) in str(plan)


def test_frames_and_interval_are_the_networks():
    plan = answers.plan(config("i3d", frames=16, frame_interval=3), "paddle")
    assert (plan.views.frames, plan.views.interval) == (16, 3)


@pytest.mark.parametrize("interval, starts, clips", [
    (8, "ends", 10), (0, "middle", 1)])
def test_tsm_with_and_without_an_interval(path, interval, starts, clips):
    plan = answers.plan(config("tsm", frame_interval=interval))
    assert (plan.views.starts, plan.views.clips) == (starts, clips)
    found, = answers.each(levels, plan, [path], 1)
    # 40 frames: 0 to 56 from the start wrap; or the middles of 8 fifths.
    assert found.probabilities == [sum(
        n % 40 for n in range(0, 64, 8)) if interval else sum(
            range(2, 40, 5))]


def test_another_protocol_leaves_mean_and_deviation():
    plan = answers.plan(config("i3d"), "mmaction2-0.x")
    own = PROTOCOLS["video-nonlocal-net"]
    assert plan.protocol.size_rule == "half_up"
    assert (plan.protocol.mean, plan.protocol.deviation) == (
        own.mean, own.deviation)


@pytest.mark.parametrize("network, flags, words", [
    ("c2d", {"views": "10x4"}, "1, 3, 5 or 10 crops"),
    ("c2d", {"views": "0x1"}, "1, 3, 5 or 10 crops"),
    ("c2d", {"views": "x"}, "1, 3, 5 or 10 crops"),
    ("tsm", {"views": "10x3"}, "Give 1x3"),
    ("tsm", {"protocol": "paddle"}, "must be c2d or i3d; got tsm")])
def test_views_that_there_are_not(network, flags, words):
    with pytest.raises(UserError, match=words) as error:
        answers.plan(config(network), **flags)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("view_batch", [1, 4, 7])
def test_probabilities_are_the_mean_of_the_views_whatever_the_batch(
        path, view_batch):
    plan, shapes = answers.plan(config("c2d"), views="5x3"), set()

    def network(batch):
        shapes.add(batch.shape)
        return levels(batch)

    found, = answers.each(network, plan, [path], view_batch)
    starts = (0, 8, 16, 24, 32)         # int(40 / 5 k); then every 8th frame
    sums = [sum((start + 8 * n) % 40 for n in range(8)) for start in starts]
    np.testing.assert_allclose(found.probabilities, [np.mean(sums)])
    window, = found.windows
    assert window.alone == [sums[0]] and window.views == 15
    assert shapes == {(view_batch, 8, 37, 37, 3)}


def test_windows_are_answered_as_if_they_were_all(path):
    found, = answers.each(
        levels, answers.plan(config("tsm")), [path], 1, seconds=0.52)
    middles = (0, 2, 4, 5, 7, 8, 10, 12)        # of 13: int(13 (k + 0.5) / 8)
    assert [window[:2] for window in found.windows] == [
        (0, 13), (13, 26), (26, 40)]            # 25 frames a second
    assert [window.probabilities for window in found.windows[:2]] == [
        [sum(middles)], [sum(middles) + 8 * 13]]


@pytest.mark.parametrize("count, expected", [
    (9, [(0, 9)]), (14, [(0, 14)]), (15, [(0, 10), (10, 15)]),
    (20, [(0, 10), (10, 20)])])
def test_less_than_half_a_window_belongs_to_the_one_before(
        path, count, expected):
    plan = answers.plan(config("tsm"), views="1x1")
    video = decode.inspect(path)._replace(count=count)
    assert [window for window, _ in views.each_window(
        path, plan.protocol, plan.views, video, 10)] == expected


def test_a_file_that_cannot_be_read_does_not_stop_the_others(path, tmp_path):
    text = tmp_path / "a.mp4"
    text.write_text("no video")
    found = list(answers.each(
        levels, answers.plan(config("tsm")), [str(text), path, "none"], 1))
    assert [each.path for each in found] == [str(text), path, "none"]
    assert "none that OpenCV reads" in found[0].error
    assert not found[1].error and "No such file" in found[2].error


@pytest.mark.parametrize("frames, seconds, looped", [
    (40, 0, False), (41, 0, True), (20, 0.8, False), (21, 0.8, True)])
def test_a_clip_longer_than_what_it_is_of_is_looped(
        path, frames, seconds, looped):
    plan = answers.plan(config("c2d", frames=frames, frame_interval=1),
                        views="1x1")
    found, = answers.each(lambda batch: batch[:, 0, 0, 0], plan, [path], 1,
                          seconds)
    assert answers.is_looped(plan, found.windows) == looped


def test_what_the_network_raises_is_not_kept_back(path):
    def network(batch):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(answers.each(
            network, answers.plan(config("tsm")), [path, path], 1))


@real
@pytest.mark.slow
def test_memory_is_some_views_and_the_frames_of_a_window():
    """The worst case, thirty views in which nearly all frames are.

    Of NumPy's arrays: TensorFlow's own share varies from run to run by more
    than what thirty views would take.
    """
    plan = answers.plan(TrainConfig(network="i3d", protocol="mmaction2-1.x"))
    path = os.path.join(CLIPS, "mmaction2_test.mp4")
    video = decode.inspect(path)
    width, height = resized_size(
        video.width, video.height, 256, plan.protocol.size_rule)
    view, batches = 32 * 256 * 256 * 3, []
    tracemalloc.start()
    try:
        answer, = answers.each(lambda batch: batches.append(batch.nbytes) or (
            np.full([1, 400], 1 / 400)), plan, [path], 1)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert answer.windows[0].views == 30 and batches == [view] * 30
    frames = video.count * width * height * 3
    assert frames < peak < frames + 8 * view
