"""benchmarks.ablation: rows, what a line holds, what is not trained twice."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from support import THIN, records

from benchmarks import ablation, pairs
from nonlocal_tf.data import digits
from nonlocal_tf.errors import UserError
from nonlocal_tf.training import loop
from nonlocal_tf.training.config import TrainConfig


def run(tmp_path, *arguments):
    """The exit code, and the lines that were written."""
    own, trainer = list(arguments), []
    if "--" in own:
        place = own.index("--")
        own, trainer = own[:place], own[place:]
    output = tmp_path / "runs.jsonl"
    code = ablation.main(own + [
        "--output", str(output), "--work", str(tmp_path / "work")] + trainer)
    lines = output.read_text().splitlines() if output.exists() else []
    return code, [json.loads(line) for line in lines]


@pytest.mark.parametrize("arguments, words", [
    (["--rows", "12 blocks"], "--rows must be of 0 blocks; 1 block"),
    (["--rows", ";"], "got none"), (["--seeds", "a"], "--seeds"),
    (["--", "--epoch", "0"], "--epoch must be 1"),
    (["--", "--ephoc", "1"], "did you mean --epoch")])
def test_bad_input_is_one_line_and_code_2(tmp_path, capsys, arguments, words):
    assert run(tmp_path, *arguments) == (2, [])
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


@pytest.mark.slow
def test_a_run_that_is_done_is_not_made_again(
        shallow, tiny_set, tmp_path, capsys, monkeypatch):
    command = ["--rows", "0 blocks", "--seeds", "1", "--"] + THIN + [
        "--data_url", tiny_set, "--Epoch", "1"]
    code, (record,) = run(tmp_path, *command)
    assert code == 0 and "Attention in" not in capsys.readouterr().out
    last = records(tmp_path / "work" / record["folder"], "epoch")[-1]
    assert record["test_accuracy"] == last["test_accuracy"]
    assert record["attention"] == last["attention"] == []
    monkeypatch.setattr(ablation, "_train", None)
    assert run(tmp_path, *command) == (0, [record])


def test_a_row_has_means_over_seeds_and_the_extremes(
        tiny_set, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(ablation, "_train", lambda config: (0, {
        "test_accuracy": (0.5, 0.75)[config.seed], "attention": [{
            "entropy": (0.25, 0.5)[config.seed], "query_dependence": None,
            "largest_score": (3, 7)[config.seed]}]}))
    run(tmp_path, "--rows", "paper", "--seeds", "0,1", "--", "--data_url",
        tiny_set)
    said = capsys.readouterr().out
    assert "paper                 62.50 % [50.00..75.00]\n" in said
    assert "entropy: 0.38\n" in said and "dependence: -\n" in said
    assert "largest score: 7\n" in said


def test_a_run_without_a_whole_epoch_is_refused(tmp_path, monkeypatch):
    (tmp_path / "metrics.jsonl").write_text('{"kind": "epoch"}\n')
    monkeypatch.setattr(
        loop, "train", lambda config: SimpleNamespace(exit_code=0))
    with pytest.raises(UserError, match="leave --max_steps out"):
        ablation._train(SimpleNamespace(train_url=str(tmp_path)))


def test_no_position_of_the_shallow_network_sees_both_digits():
    width, step = 1, 1
    for kernel, stride in pairs.LAYERS:
        width, step = width + (kernel - 1) * step, step * stride
    assert (width, step) == (27, 8)
    assert width <= pairs.GAP


def test_pairs_are_of_one_class_or_not_and_far_apart():
    pytest.importorskip("sklearn")
    images, labels = digits.digits()[:2]
    canvases, same = pairs.pairs(
        images, labels, 200, np.random.RandomState(0))
    assert same.mean() == 0.5
    middle = pairs.CANVAS[1] // 2
    gap = canvases[:, :, middle - pairs.GAP // 2:middle + pairs.GAP // 2]
    assert not gap.any()
    classes = {image.tobytes(): label for image, label in zip(images, labels)}
    for canvas, alike in zip(canvases, same):
        found = [_class(classes, half) for half in (
            canvas[:, :middle], canvas[:, middle:])]
        assert (found[0] == found[1]) == bool(alike)


def _class(classes, half):
    """That of the digit in a half of a canvas, by its exact pixels."""
    rows, columns = (half.shape[axis] - 28 for axis in (0, 1))
    found = {classes[window.tobytes()] for window in (
        half[y:y + 28, x:x + 28] for y in range(rows + 1)
        for x in range(columns + 1)) if window.tobytes() in classes}
    label, = found
    return label


@pytest.mark.slow
def test_the_shallow_network_has_a_block_where_asked(tmp_path, monkeypatch):
    pytest.importorskip("sklearn")
    monkeypatch.setattr(pairs, "_STEPS", 2)
    monkeypatch.setattr(pairs, "_TEST_PAIRS", 6)
    for settings, blocks in ((dict(non_local="0"), 0), (dict(
            instantiation="gaussian"), 1)):
        code, figures = pairs.train(TrainConfig(
            dataset="digits", data_url=str(tmp_path), epoch=1, batch_size=4,
            micro_batch="4", **settings))
        assert code == 0 and 0 <= figures["test_accuracy"] <= 1
        assert len(figures["attention"]) == blocks


def test_pairs_refuse_what_they_would_ignore(tmp_path):
    with pytest.raises(UserError, match="neither --augment"):
        pairs.train(TrainConfig(augment=True, data_url=str(tmp_path)))
