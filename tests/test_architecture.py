"""Placements: those of the paper and of the authors' code, and bad ones."""

import pytest

from nonlocal_tf.architecture import (
    DEPTHS,
    PLACEMENTS,
    STAGES,
    format_placement,
    parse_placement,
)
from nonlocal_tf.errors import UserError


@pytest.mark.parametrize("resnet_size, blocks, expected", [
    (50, "10", {"res3": (0, 1, 2, 3), "res4": (0, 1, 2, 3, 4, 5)}),
    (50, "5", {"res3": (1, 3), "res4": (1, 3, 5)}),
    (50, "1", {"res4": (4,)}),          # right before the last bottleneck
    (50, "0", {}),
    (101, "5", {"res3": (1, 3), "res4": (6, 13, 20)}),
    (50, "res3:2,0;res4:1", {"res3": (0, 2), "res4": (1,)}),
    (50, " res5:2; ", {"res5": (2,)}),
])
def test_placement(resnet_size, blocks, expected):
    assert parse_placement(blocks, resnet_size) == expected


@pytest.mark.parametrize("resnet_size, count", sorted(PLACEMENTS))
def test_a_rule_places_as_many_blocks_as_it_says(resnet_size, count):
    placement = parse_placement(str(count), resnet_size)
    assert sum(map(len, placement.values())) == count
    for stage, blocks in placement.items():
        assert max(blocks) < DEPTHS[resnet_size][STAGES.index(stage)]


def test_format_is_the_inverse_of_parse():
    text = "res3:0,2;res4:1"
    assert format_placement(parse_placement(text, 50)) == text
    assert format_placement({}) == "0"


@pytest.mark.parametrize("text, reason", [
    ("3", "no rule for that many"),
    ("-1", "cannot read"),
    ("", "cannot read"),
    ("res6:0", "cannot read"),
    ("res3:4", "bottlenecks 0 to 3, not 4"),
    ("res3:1,1", "repeats"),
    ("res3:1;res3:2", "repeats"),
])
def test_bad_placement_is_one_line_with_the_reason(text, reason):
    with pytest.raises(UserError, match=reason) as error:
        parse_placement(text, 50)
    assert "\n" not in str(error.value)
    assert "--non_local must be" in str(error.value)
