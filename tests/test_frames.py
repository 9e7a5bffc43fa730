"""Indices, sizes, interpolation and crops of each system, by its own rules.

Numbers are those of the systems' code, or worked out from its rules by hand.
"""

import numpy as np
import pytest

from nonlocal_tf.data.video import crops, indices, resize
from nonlocal_tf.errors import UserError
from nonlocal_tf.protocols import PROTOCOLS

SYSTEMS = {(system, network): trunk for system, row in PROTOCOLS.items()
           for network, trunk in row.networks.items()}
TSM = SYSTEMS["mmaction2-0.x", "tsm"]
I3D = SYSTEMS["mmaction2-0.x", "i3d"]
C2 = SYSTEMS["video-nonlocal-net", "c2d"]
PADDLE = SYSTEMS["paddle", "c2d"]
NONE = "0 0 0 0 0 0 0 0 0 0"


def random(seed=0):
    return np.random.RandomState(seed)


def numbers(text):
    return [int(number) for number in text.split()]


@pytest.mark.parametrize("count, expected", [
    (300, "18 56 93 131 168 206 243 281"), (5, "0 0 1 2 2 3 4 4"),
    (8, "0 1 2 3 4 5 6 7"), (30, "1 5 9 13 16 20 24 28"),
    (1, "0 0 0 0 0 0 0 0"), (63, "3 11 19 27 35 43 51 59"),
    (64, "4 12 20 28 36 44 52 60")])
@pytest.mark.parametrize("system", ["mmaction2-0.x", "mmaction2-1.x"])
def test_tsm_takes_the_middle_of_each_segment(system, count, expected):
    views = SYSTEMS[system, "tsm"].views
    np.testing.assert_array_equal(
        indices.test_indices(views, count), [numbers(expected)])


STARTS = [
    (("mmaction2-0.x", "i3d"), 300, "11 35 59 82 106 130 154 177 201 225"),
    (("mmaction2-0.x", "i3d"), 64, NONE), (("mmaction2-0.x", "i3d"), 63, NONE),
    (("mmaction2-0.x", "i3d"), 5, NONE), (("mmaction2-0.x", "i3d"), 1, NONE),
    (("mmaction2-1.x", "i3d"), 300, "0 26 53 79 105 132 158 184 211 237"),
    (("mmaction2-1.x", "i3d"), 64, "0 0 0 0 0 1 1 1 1 1"),
    (("mmaction2-1.x", "i3d"), 63, NONE), (("mmaction2-1.x", "i3d"), 8, NONE),
    (("mmaction2-1.x", "c2d"), 300, "0 27 54 81 108 135 162 189 216 243"),
    (("mmaction2-1.x", "c2d"), 64, "0 1 2 2 3 4 5 5 6 7"),
    (("mmaction2-1.x", "c2d"), 63, "0 1 1 2 3 3 4 5 5 6"),
    (("mmaction2-1.x", "c2d"), 30, NONE)] + [
    ((system, network), count, expected)
    for system in ("video-nonlocal-net", "paddle")
    for network in ("c2d", "i3d") for count, expected in (
        (300, "0 30 60 90 120 150 180 210 240 270"), (1, NONE),
        (5, "0 0 1 1 2 2 3 3 4 4"), (8, "0 0 1 2 3 4 4 5 6 7"),
        (30, "0 3 6 9 12 15 18 21 24 27"),
        (63, "0 6 12 18 25 31 37 44 50 56"),
        (64, "0 6 12 19 25 32 38 44 51 57"))]


@pytest.mark.parametrize("key, count, expected", STARTS)
def test_clips_start_by_the_systems_rule(key, count, expected):
    views = SYSTEMS[key].views
    clips = indices.test_indices(views, count)
    assert clips.shape == (views.clips, views.frames)
    np.testing.assert_array_equal(clips[:, 0], numbers(expected))


def test_one_clip_of_mmaction2_1_starts_at_half_the_room():
    views = SYSTEMS["mmaction2-1.x", "i3d"].views._replace(clips=1)
    assert indices.test_indices(views, 300)[0, 0] == 118


@pytest.mark.parametrize("key, count, clip, expected", [
    (("paddle", "c2d"), 300, 9, "270 278 286 294 2 10 18 26"),
    (("video-nonlocal-net", "c2d"), 5, 0, "0 3 1 4 2 0 3 1"),
    (("video-nonlocal-net", "c2d"), 8, 3, "2 2 2 2 2 2 2 2"),
    (("mmaction2-0.x", "i3d"), 30, 4, " ".join(
        map(str, 2 * list(range(0, 30, 2)) + [0, 2]))),
    (("mmaction2-0.x", "i3d"), 63, 9, " ".join(map(str, range(0, 63, 2))))])
def test_behind_the_last_frame_comes_the_first(key, count, clip, expected):
    np.testing.assert_array_equal(
        indices.test_indices(SYSTEMS[key].views, count)[clip],
        numbers(expected))


@pytest.mark.parametrize("count, last", [(300, 107), (193, 0), (30, 163)])
def test_mindspores_start_is_random_up_to_its_distance(count, last):
    views = SYSTEMS["mindspore", "i3d"].views
    draws = random()
    found = {tuple(indices.train_indices(views, count, draws))
             for _ in range(3000)}
    assert found == {tuple((start + 6 * np.arange(32)) % count)
                     for start in range(last + 1)}


def test_mindspores_test_repeats():
    views = SYSTEMS["mindspore", "i3d"].views
    np.testing.assert_array_equal(
        indices.test_indices(views, 300), indices.test_indices(views, 300))


@pytest.mark.parametrize("count, length", [(300, 37), (64, 8), (30, 3)])
def test_tsm_trains_on_a_frame_of_each_segment(count, length):
    draws = random()
    found = np.array([indices.train_indices(TSM.views, count, draws)
                      for _ in range(2000)])
    for segment, column in enumerate(found.T):
        assert set(column) == set(
            range(segment * length, (segment + 1) * length))


@pytest.mark.parametrize("count, expected", [
    (8, "0 1 2 3 4 5 6 7"), (7, "0 1 2 3 4 4 5 6"), (5, "0 1 1 2 2 3 4 4"),
    (4, "0 0 1 2 2 2 3 0"), (1, "0 0 0 0 0 0 0 0")])
def test_tsm_trains_on_short_videos_by_mmaction2s_rule(count, expected):
    np.testing.assert_array_equal(
        indices.train_indices(TSM.views, count, random()), numbers(expected))


@pytest.mark.parametrize("trunk, count, starts", [
    (C2, 300, 237), (C2, 65, 2), (C2, 64, 1), (C2, 5, 1), (PADDLE, 70, 7),
    (I3D, 300, 237), (I3D, 63, 1)])
def test_training_clips_start_anywhere_that_has_room(trunk, count, starts):
    draws = random()
    found = {tuple(indices.train_indices(trunk.views, count, draws))
             for _ in range(4000)}
    steps = trunk.views.interval * np.arange(trunk.views.frames)
    assert found == {tuple((start + steps) % count)
                     for start in range(starts)}


SIZES = [
    ((352, 288), (312, 256), (313, 256)), ((176, 144), (312, 256), (313, 256)),
    ((406, 720), (256, 453), (256, 454)), ((320, 240), (341, 256), (341, 256)),
    ((640, 360), (455, 256), (455, 256)),
    ((1280, 720), (455, 256), (455, 256)),
    ((426, 240), (454, 256), (454, 256)), ((340, 256), (340, 256), (340, 256))]


@pytest.mark.parametrize("size, cut, rounded", SIZES)
def test_sizes_are_rounded_by_the_systems_rule(size, cut, rounded):
    for rule, expected in (("truncate", cut), ("even", rounded),
                           ("half_up", rounded)):
        assert resize.resized_size(*size, 256, rule) == expected


def test_half_is_rounded_to_even_or_up():
    # 256 / 512: 513 becomes 256.5, 515 becomes 257.5.
    assert resize.resized_size(513, 512, 256, "even") == (256, 256)
    assert resize.resized_size(513, 512, 256, "half_up") == (257, 256)
    assert resize.resized_size(515, 512, 256, "even") == (258, 256)


def test_the_short_side_is_never_one_too_short():
    below = 0
    for side in range(16, 2161):
        ratio = np.float32(256) / np.float32(side)
        below += int(np.float32(side) * ratio) == 255
        for rule in ("truncate", "even", "half_up"):
            assert resize.resized_size(side, 2 * side, 256, rule)[0] == 256
    assert below == 280             # of Caffe2's, which the crop then overran


def picture(height, width):
    return random().randint(0, 256, (height, width, 3)).astype(np.uint8)


def test_halving_is_the_rounded_mean_of_four():
    pytest.importorskip("cv2")
    image = picture(40, 60)
    four = image.astype(int).reshape([20, 2, 30, 2, 3]).sum((1, 3))
    np.testing.assert_array_equal(
        resize.resize(image, 30, 20), (four + 2) >> 2)


def test_cubic_is_opencvs():
    cv2 = pytest.importorskip("cv2")
    image = picture(48, 64)
    np.testing.assert_array_equal(
        resize.resize(image, 77, 56, "cubic"),
        cv2.resize(image, (77, 56), interpolation=cv2.INTER_CUBIC))


@pytest.mark.parametrize("width, middle, right", [
    (340, 42, 84), (341, 42, 84), (343, 43, 86), (454, 99, 198),
    (455, 99, 198), (256, 0, 0)])
def test_three_crops(width, middle, right):
    for trunk, order in ((C2, (0, middle, right)), (PADDLE,
                         (0, middle, right)), (I3D, (0, right, middle))):
        assert crops.test_crops(trunk.views, width, 256) == [
            (x, 0, False) for x in order]


def test_three_crops_of_an_upright_video():
    assert crops.test_crops(C2.views, 256, 453) == [
        (0, 0, False), (0, 98, False), (0, 196, False)]
    assert crops.test_crops(I3D.views, 256, 454) == [
        (0, 0, False), (0, 198, False), (0, 99, False)]
    # One row to spare is none, as the systems round it down.
    assert crops.test_crops(C2.views, 300, 257) == [
        (0, 0, False), (22, 0, False), (44, 0, False)]
    assert crops.test_crops(C2.views, 300, 258) == [
        (22, 0, False), (22, 1, False), (22, 2, False)]


@pytest.mark.parametrize("width, left", [
    (340, 58), (341, 58), (343, 59), (454, 115), (455, 115)])
def test_centre_crop(width, left):
    assert crops.test_crops(TSM.views, width, 256) == [(left, 16, False)]


@pytest.mark.parametrize("width", [340, 341])
def test_ten_crops_in_mmaction2s_order(width):
    views = SYSTEMS["mmaction2-1.x", "tsm"].views
    assert crops.test_crops(views, width, 256) == [
        (x, y, mirrored) for x, y in (
            (0, 0), (116, 0), (0, 32), (116, 32), (58, 16))
        for mirrored in (False, True)]


def test_crops_larger_than_the_frames_are_refused():
    with pytest.raises(UserError, match="256 pixels .* they are 340 x 240"):
        crops.test_crops(C2.views, 340, 240)


def drawn(trunk, width, height, draws=4000):
    source = random()
    return {crops.train_crop(trunk.train_crop, 224, width, height, source)
            for _ in range(draws)}


def test_training_crops_lie_anywhere():
    assert drawn(C2, 232, 226) == {
        (x, y, 224, 224) for x in range(9) for y in range(3)}
    assert drawn(C2, 224, 224) == {(0, 0, 224, 224)}


def test_paddles_training_crops_leave_the_last_place_out():
    assert drawn(PADDLE, 232, 226) == {
        (x, y, 224, 224) for x in range(8) for y in range(2)}
    assert drawn(PADDLE, 224, 224) == {(0, 0, 224, 224)}
    assert PADDLE.train_crop.short_sides == (256, 319)
    assert C2.train_crop.short_sides == (256, 320)


QUARTERS = {5: {(0, 0), (4, 0), (0, 4), (4, 4), (2, 2)}}
QUARTERS[13] = QUARTERS[5] | {(0, 2), (4, 2), (2, 4), (2, 0), (1, 1), (3, 1),
                              (1, 3), (3, 3)}


@pytest.mark.parametrize("trunk, sides, gap, places", [
    (TSM, (256, 224, 192, 168), 1, 13), (I3D, (256, 204), 0, 5),
    (SYSTEMS["mmaction2-1.x", "c2d"], (256, 224, 192, 168), 1, 5)])
def test_multi_scale_crops(trunk, sides, gap, places):
    assert drawn(trunk, 340, 256) == {
        (a * ((340 - w) // 4), b * ((256 - h) // 4), w, h)
        for i, w in enumerate(sides) for j, h in enumerate(sides)
        if abs(i - j) <= gap for a, b in QUARTERS[places]}


def test_a_scale_near_the_networks_size_is_that_size():
    # int(259 * 0.875) = 226 becomes 224, and 227 of 260 does not.
    assert {side for crop in drawn(TSM, 345, 259) for side in crop[2:]} == {
        259, 224, 194, 170}
    assert {side for crop in drawn(TSM, 345, 260) for side in crop[2:]} == {
        260, 227, 195, 171}
