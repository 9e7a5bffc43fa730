"""docs/bring-your-own-network.md, block by block: a network not ours."""

import json
import os
import re
import shlex

import numpy as np
import pytest
from support import ROOT, blocks, run_in_turn, shell_lines

pytestmark = pytest.mark.slow           # a dozen commands
PAGE = os.path.join(ROOT, "docs", "bring-your-own-network.md")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The page's files, each under the name in its first line."""
    folder = tmp_path_factory.mktemp("foreign")
    for code in blocks(PAGE, "python"):
        (folder / code.split()[1]).write_text(code)
    return folder


@pytest.fixture(scope="module")
def outputs(folder):
    """What each command of the page prints, and its exit code."""
    commands = []
    for line in shell_lines(PAGE):
        program, *words = shlex.split(line)
        if program == "atc":                            # preflight stands in
            words = ["-m", "nonlocal_tf.export.preflight"] + words
        if program != "export":                         # of PYTHONPATH
            commands.append(words)
        if "as_it_is.pb" in words:
            commands.append(words + ["--json"])
    return run_in_turn(commands, folder, COLUMNS="110")


def test_only_the_frozen_training_graph_is_rejected(outputs):
    for command, text, code in outputs:
        rejected = "preflight as_it_is.pb" in command
        assert code == ("1" if rejected else "0"), (command, text)


@pytest.mark.parametrize("page", ["README.md", "README.zh.md"])
def test_the_first_screen_shows_what_preflight_prints(outputs, page):
    quoted, = blocks(os.path.join(ROOT, page), "text")
    assert quoted in outputs[2][1]


def test_the_page_explains_what_preflight_finds(outputs):
    text, = [text for command, text, _ in outputs if "--json" in command]
    found = {each["check"] for each in json.loads(
        text[text.index("{"):])["findings"]}
    with open(PAGE, encoding="utf-8") as file:
        table = file.read().split("| finding |")[1]
    explained = set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE))
    assert {"batch_norm_training", "dropout"} <= found <= explained


def test_the_clean_graph_answers_as_the_checkpoint(outputs):
    text, = [text for command, text, _ in outputs if "compare" in command]
    difference, right, wrong = re.search(
        r"at most (\S+)\nclean.pb: (\d+) of 64 right\n"
        r"as_it_is.pb: (\d+) of 64 right", text).groups()
    assert float(difference) <= 1e-5
    assert int(right) >= 60
    assert int(wrong) <= 32             # four classes: guessing gives 16


def test_the_rehearsal_answers_right(outputs, folder):
    result, = folder.glob("results/*/clean_output_0.txt")
    answer, = result.read_text().split()
    classes = np.random.RandomState(1000).randint(0, 4, 64)     # of data()
    assert int(answer) == classes[0]
