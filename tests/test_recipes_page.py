"""docs/video-recipes.md: each row's commands, up to the data that they need."""

import dataclasses
import os
import re
import shlex

import pytest
from support import ROOT, blocks

from nonlocal_tf import convert, evaluate
from nonlocal_tf.architecture import format_placement
from nonlocal_tf.training import need
from nonlocal_tf.training.flags import parse_flags
from nonlocal_tf.weights.names import Traits
from nonlocal_tf.weights.recognise import Found

PAGE = os.path.join(ROOT, "docs", "video-recipes.md")
# torchvision's ResNets with 400 classes, and what of them is of batch norms.
RESNETS = {"50": (24327632, 53120), "101": (43319760, 105344)}
WIDTHS = {"res2": 256, "res3": 512, "res4": 1024, "res5": 2048}


def rows():
    """(values of a row by their heads, its section's commands)."""
    with open(PAGE, encoding="utf-8") as file:
        sections = file.read().split("\n## ")[1:]
    for section in sections:
        found = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
        lines = [[cell.strip().strip("`") for cell in line.split("|")[1:-1]]
                 for line in section.split("\n") if line.startswith("|")]
        for cells in lines[2:] if found else ():
            assert len(cells) == len(lines[0]), cells
            row = dict(zip(lines[0], cells))
            commands = found[0].strip()
            for name in sorted(row, key=len, reverse=True):
                if name.startswith("$"):
                    commands = commands.replace(name, row[name])
            assert "$" not in commands, commands
            yield row, [shlex.split(line) for line in commands.split("\n")]


ROWS = list(rows())
TRAINED = [each for each in ROWS if "$NET" in each[0]]
IDS = [row["$NAME"] + " " + row["row"] for row, _ in TRAINED]


def commands(lines, *program):
    return [words[len(program):] for words in lines
            if tuple(words[:len(program)]) == program]


def config(lines):
    """The `TrainConfig` of a row's training command."""
    words, = commands(lines, "python", "train_gpu.py")
    found = parse_flags(words, "train_gpu.py", "")
    return dataclasses.replace(found, classes=found.classes or 400)


def expected_parameters(row, found):
    """By hand, from torchvision's numbers, of the trainable ones."""
    size = row.get("$SIZE", "50")
    total, norms = RESNETS[size]
    total += 2049 * (found.classes - 400)
    if found.network == "i3d":
        # Three frames in place of one in all of res2, every other of res3
        # and res4, one of res5; five in conv1.
        res4 = {"50": 3, "101": 12}[size]
        total += 2 * (64 * (64 + 256 + 256) + 128 * (256 + 512) + 256 * (
            512 + 1024 * (res4 - 1)) + 512 * 2048) + 4 * 7 * 7 * 3 * 64
    mmaction2 = found.protocol.startswith("mmaction2")
    for stage, after in found.placement().items():
        wide = WIDTHS[stage]
        inner = wide // 2
        embeddings = 1 if found.instantiation == "gaussian" else 3
        block = embeddings * (wide + 1) * inner + inner * wide
        block += 0 if mmaction2 else wide
        block += 0 if found.frozen_norm else 2 * wide
        block += 2 * inner * (found.instantiation == "concatenation")
        total += len(after) * block
    return total - norms * found.frozen_norm


@pytest.mark.parametrize("row, lines", TRAINED, ids=IDS)
def test_a_row_trains_the_network_that_it_says(row, lines, caplog):
    found = config(lines)
    assert "Ignored" not in caplog.text
    expected = expected_parameters(row, found)
    assert need.parameters(found) == expected
    assert row["parameters, M"] == "{:.1f}".format(expected / 1e6)


@pytest.mark.parametrize("row, lines", TRAINED, ids=IDS)
def test_a_start_is_of_the_network_that_is_trained(row, lines):
    """As `convert` would make it of a file of the row's ResNet."""
    trained = config(lines)
    start = convert.parse(commands(
        lines, "python", "-m", "nonlocal_tf.convert")[-1])
    ours = row.get("$FROM")
    system = "torchvision" if not ours else (
        "mmaction2" if "mmaction2" in trained.protocol else "caffe2")
    made = convert.settings(Found(
        system, trained.network if ours else None, trained.resnet_size, 64,
        400, 0.5, None, False, "batch", True, Traits({})), start)
    for name in ("network", "protocol", "resnet_size", "classes", "frames",
                 "frame_interval", "instantiation", "image_size", "block_norm",
                 "frozen_norm", "scale", "sub_sample"):
        assert getattr(made, name) == getattr(trained, name), name
    assert format_placement(made.placement()) == format_placement(
        trained.placement())


@pytest.mark.parametrize("row, lines", ROWS, ids=[
    row["$NAME"] + " " + row["row"] for row, _ in ROWS])
def test_folders_and_commands_fit_together(row, lines):
    for words in commands(lines, "python", "-m", "nonlocal_tf.convert"):
        convert.parse(words)
    last = commands(lines, "python", "-m", "nonlocal_tf.evaluate")
    assert last[0][:2] == ["--train_url", "output/" + row["$NAME"]]
    evaluate.parse(last[0])
    if "$FROM" in row:
        assert row["$FROM"] in {other["$NAME"] for other, _ in ROWS}


def test_names_stand_for_one_training_each():
    found = {}
    for row, lines in ROWS:
        assert found.setdefault(row["$NAME"], lines) == lines


def test_the_commands_are_not_taken_for_those_of_a_shell():
    """Other pages' commands are run as they stand; these have variables."""
    assert not blocks(PAGE, "bash")
