"""The page of runs, from small folders that are written by hand."""

import builtins
import json
import os
import re

import numpy as np
import pytest
import tensorflow as tf
from support import graph_session

from nonlocal_tf import report, trained
from nonlocal_tf.architecture import DEPTHS
from nonlocal_tf.data.idx import write_idx
from nonlocal_tf.pages import curves, mistakes, runs
from nonlocal_tf.training.config import TrainConfig


def write_run(folder, lines=None, **settings):
    """A run's folder with config.json and metrics.jsonl; its path."""
    folder.mkdir()
    config = TrainConfig(train_url=str(folder), **dict(
        dict(data_url="nowhere", non_local="res3:0;res4:0"), **settings))
    (folder / "config.json").write_text(json.dumps(config.as_dict()))
    if lines is not None:
        (folder / "metrics.jsonl").write_text("\n".join(
            each if isinstance(each, str) else json.dumps(each)
            for each in lines) + "\n")
    return str(folder)


def step(number, loss):
    return {"kind": "step", "epoch": 1, "step": number, "train_loss": loss,
            "images_per_second": 10.0}


def epoch(number, test, entropy=0.5):
    return {"kind": "epoch", "epoch": number, "step": 8 * number,
            "complete": True, "train_loss": 0.25, "train_accuracy": 0.75,
            "test_loss": 0.5, "test_accuracy": test, "epoch_seconds": 3.0,
            "images_per_second": 11.0, "attention": [
                {"block": "res3/0", "entropy": entropy, "largest_weight": 0.1,
                 "query_dependence": None, "largest_score": 3.0}]}


def write_checkpoint(folder, number):
    """What is read of one without its variables."""
    models = os.path.join(folder, "Model")
    os.makedirs(models, exist_ok=True)
    open(os.path.join(models, "model.ckpt-{}.index".format(number)),
         "w").close()
    with open(os.path.join(models, "model.ckpt-{}.json".format(number)),
              "w") as file:
        json.dump({"step": number, "tensorflow": "9.8.7", "device": "Abacus",
                   "progress": {"epoch": 3, "test_accuracy": 0.125}}, file)


@pytest.fixture
def page(tmp_path):
    """A function of runs to the text of their page."""
    pytest.importorskip("matplotlib")

    def make(*folders):
        out = tmp_path / "out.html"
        assert report.main(list(folders) + ["--output", str(out)]) == 0
        return out.read_text(encoding="utf-8")

    return make


def cells(text, name):
    """Those of the rows under a name, of all tables."""
    return [re.findall("<td[^>]*>(.*?)</td>", row) for row in re.findall(
        '<th scope="row">{}</th>(.*?)</tr>'.format(re.escape(name)), text)]


def part(text, start, end):
    return text[text.index(start):text.index(end)]


def test_settings_that_differ_come_first(tmp_path, page):
    one = write_run(tmp_path / "one", [], batch_size=16, seed=1)
    two = write_run(tmp_path / "two", [], batch_size=32, seed=1)
    text = page(one, two)
    shown = part(text, "Settings that differ", "<details>")
    assert re.findall('scope="row">(.*?)<', shown) == ["batch_size"]
    assert cells(shown, "batch_size") == [["16", "32"]]
    assert ["1", "1"] in cells(text, "seed")             # among all


def test_a_single_run_is_held_beside_the_defaults(tmp_path, page):
    shown = part(page(write_run(tmp_path / "one", [], image_size=56)),
                 "Settings that are not", "<details>")
    assert re.findall('scope="row">(.*?)<', shown) == [
        "image_size", "non_local"]
    assert cells(shown, "image_size") == [["56", "224"]]


def test_runs_of_other_networks_stand_beside_each_other(tmp_path, page):
    clips = write_run(tmp_path / "clips", [epoch(1, 0.5)], network="tsm",
                      protocol="mmaction2-1.x", classes=4)
    bare = write_run(tmp_path / "bare", None, non_local="0")
    text = page(write_run(tmp_path / "digits", [epoch(1, 0.5)]), clips, bare)
    assert ["digits", "tsm", "digits"] in cells(text, "network")
    assert "The network has no non-local block." in text
    assert "bare: There is no metrics.jsonl: no curves." in text


def test_converted_weights_have_no_settings_of_a_training(tmp_path, page):
    folder = write_run(tmp_path / "one", None, network="tsm", classes=4)
    write_checkpoint(folder, 0)
    settings = json.loads((tmp_path / "one" / "config.json").read_text())
    os.remove(os.path.join(folder, "config.json"))
    (tmp_path / "one" / "Model" / "model.ckpt-0.json").write_text(json.dumps({
        "step": 0, "config": settings, "converted": {"file": "tsm.pth"}}))
    text = page(folder)
    assert cells(text, "trained") == [["converted from tsm.pth"]]
    assert cells(text, "data") == [["-"]]
    assert ["4", "-"] in cells(text, "classes")         # "-": the default
    assert not cells(text, "batch_size") + cells(text, "learning_rate")
    trained_one = write_run(tmp_path / "two", [], network="tsm", classes=5)
    shown = part(page(folder, trained_one), "Settings that differ",
                 "<details>")
    assert re.findall('scope="row">(.*?)<', shown) == ["classes"]


def test_numbers_of_the_records_are_on_the_page(tmp_path, page):
    text = page(write_run(tmp_path / "one", [
        step(4, 2.0), epoch(1, 0.5, 0.625), epoch(2, 0.25, 0.375)], epoch=5))
    assert cells(text, "best test accuracy") == [["50.00%, epoch 1"]]
    assert cells(text, "trained") == [["epoch 2 of 5, step 16"]]
    assert cells(text, "2")[0] == ["16", "0.2500", "75.00%", "0.5000",
                                   "25.00%", "11.0", "3"]
    assert cells(text, "res3/0") == [["0.375", "-", "0.100", "3"]]
    assert "No finite value." in text                   # query dependence


def test_a_curve_has_the_points_of_its_records():
    """A hat stands in the middle of a rising line, and is as high."""
    pytest.importorskip("matplotlib")
    text = curves.svg("t", [curves.Line([0, 10], [0, 10], 0),
                            curves.Line([0, 5, 10], [0, 10, 0], 1)])
    low, high, left, middle, right = np.concatenate([
        np.array(re.findall(r"([\d.]+) ([\d.]+)", found), float)
        for found in re.findall(
            r'<path d="([^"]*)" clip-path="[^"]*" style="fill: none; '
            r"stroke: #(?:1976c9|d55e00)", text)])
    expected = low, [(low[0] + high[0]) / 2, high[1]], [high[0], low[1]]
    np.testing.assert_allclose([left, middle, right], expected, atol=1e-3)
    assert high[0] > low[0] and high[1] < low[1]         # y grows downwards
    assert "currentColor" in text and curves._INK not in text


def test_learning_rate_is_that_of_the_schedule(tmp_path):
    """A tenth from half of 4 epochs of 8 steps on."""
    run, = runs.read([write_run(
        tmp_path / "one", [epoch(1, 0.5), epoch(4, 0.5)], epoch=4,
        learning_rate=0.5, lr_schedule="step", lr_steps="0.5")])
    steps, rates = report._rates(run)
    np.testing.assert_array_equal(steps, np.arange(1, 33))
    np.testing.assert_allclose(rates, [0.5] * 16 + [0.05] * 16, rtol=1e-6)


def test_damaged_lines_and_files_are_said(tmp_path, page):
    folder = write_run(tmp_path / "one", [
        step(4, 2.0), "garbage", {"kind": "step"},
        dict(step(8, 1.0), train_loss=float("nan"))])
    write_checkpoint(folder, 8)
    (tmp_path / "one" / "Model" / "model.ckpt-8.json").write_text("{")
    text = page(folder)
    assert "metrics.jsonl: left out as damaged: line 2, 3." in text
    assert "model.ckpt-8.json is damaged" in text
    run, = runs.read([folder])
    assert runs.finite(run.steps, "train_loss") == ([4], [2.0])


def test_checkpoints_and_what_froze_from_them(tmp_path, page):
    folder = write_run(tmp_path / "one", [])
    write_checkpoint(folder, 8)
    (tmp_path / "one" / "PB_Model").mkdir()
    for name, note in (("a.pb", None), ("b.pb", "ba7816bf8f01cfea414140de5dae"
                       "2223b00361a396177a9cb410ff61f20015ad"), ("c.pb", "0")):
        path = tmp_path / "one" / "PB_Model" / name
        path.write_text("abc")          # FIPS 180-2 has its SHA-256
        if note:
            (tmp_path / "one" / "PB_Model" / (name + ".json")).write_text(
                json.dumps({"sha256": note, "step": 8, "shape": [1, 3]}))
    text = page(folder)
    assert cells(text, "8") == [["2", "12.50%", "9.8.7"]]
    assert cells(text, "device") == [["Abacus"]]
    assert cells(text, "a.pb")[0][-1].startswith("none")
    assert cells(text, "b.pb") == [[
        "3", "8", "1 x 3", "ba7816bf8f01", "of this file"]]
    assert cells(text, "c.pb")[0][-1] == "of another file"


def evaluated(folder):
    out = os.path.join(folder, "evaluate", "val")
    os.makedirs(out)
    for name, content in (
            ("summary.json", json.dumps({
                "checkpoint": "step 8, 12ab", "protocol": "mmaction2-1.x",
                "views": "1x1", "top1": 0.25, "top5": 1.0, "videos": 4,
                "readable": 4})),
            ("confusion.csv", "label \\ answer,run,<jump>\r\n"
                              "run,1,2\r\n<jump>,1,0\r\n"),
            ("videos.jsonl", "".join(json.dumps({
                "path": "v{}.avi".format(at), "label": label, "top": [
                    {"class": answer, "probability": share}]}) + "\n"
                for at, (label, answer, share) in enumerate([
                    (0, 0, 0.9), (0, 1, 0.5), (1, 0, 0.75), (0, 1, 0.625)])))):
        with open(os.path.join(out, name), "w") as file:
            file.write(content)


def test_clips_that_were_tested_and_the_surest_mistakes(tmp_path, page):
    folder = write_run(tmp_path / "one", [], network="tsm",
                       protocol="mmaction2-1.x", classes=2)
    write_checkpoint(folder, 8)
    assert "python -m nonlocal_tf.evaluate --train_url " + folder in page(
        folder)
    evaluated(folder)
    text = page(folder)
    assert "evaluate/val: step 8" in text and "top-1 25.00%" in text
    assert cells(text, "0 run") == [
        ["1", "2"], ["3", "1", "33.3%", "1 &lt;jump&gt; (2)"]]
    assert re.findall(r"(v\d.avi)", text) == ["v2.avi", "v3.avi", "v1.avi"]
    assert "is 1 &lt;jump&gt;, not 0 run (75.0%): v2.avi" in text
    assert "Without pictures: A checkpoint is three files" in text


def bright_or_dark(batch):
    """0 of a dark image; else 1, all the surer the brighter it is."""
    share = batch.mean((1, 2, 3)) / 255
    return np.where(share[:, None] < 0.1, [[0.875, 0.125]],
                    np.stack([(1 - share) / 2, (1 + share) / 2], 1))


@pytest.fixture
def found(tmp_path, monkeypatch):
    """A network of two classes, and 40 test images of them."""
    level = np.where(np.arange(40) % 2, 200, 0)
    level[[3, 6]] = 0, 102              # a dark one of 1, a bright one of 0
    write_idx(str(tmp_path / "t10k-images-idx3-ubyte"), np.broadcast_to(
        level[:, None, None], [40, 28, 28]).astype(np.uint8))
    write_idx(str(tmp_path / "t10k-labels-idx1-ubyte"),
              (np.arange(40) % 2).astype(np.uint8))
    monkeypatch.setattr(trained, "Network", lambda _: bright_or_dark)
    return trained.Checkpoint("x", 8, TrainConfig(
        data_url=str(tmp_path), train_url="x", classes=2, digit_size=28), {})


def test_the_network_answers_the_test_images(found):
    answers = mistakes.of_images(found)
    assert answers.counts.tolist() == [[19, 1], [1, 19]]
    assert [each[:2] for each in answers.wrong] == [(1, 0), (0, 1)]
    assert [each[2] for each in answers.wrong] == pytest.approx([0.875, 0.7])
    assert "on all 40 test images" in answers.words
    assert "95.00%" in answers.words


def test_a_class_without_a_name_has_its_number(found):
    found = found._replace(note={"class_names": ["dark"]})
    assert mistakes.of_images(found).names == ["dark", "1"]


def test_what_tensorflow_cannot_compute_leaves_the_rest_of_the_page(
        tmp_path, page, monkeypatch):
    """As a network in bfloat16 on a processor without it."""
    folder = write_run(tmp_path / "a", [epoch(1, 0.5)])
    write_checkpoint(folder, 8)

    def fail(*_):
        raise tf.errors.InternalError(None, None, "Missing 0-th output")

    monkeypatch.setattr(trained, "find", fail)
    text = page(folder)
    assert "it stopped with InternalError: Missing 0-th output" in text
    assert cells(text, "1")


def test_a_run_of_an_earlier_version_is_read(tmp_path, page):
    folder = write_run(tmp_path / "a", [epoch(1, 0.5)])
    path = tmp_path / "a" / "config.json"
    settings = dict(json.loads(path.read_text()), xla=False,
                    loss_scale="fixed", loss_scale_value=8.0)
    del settings["block"], settings["classes"]
    path.write_text(json.dumps(settings))
    run, = runs.read([folder])
    assert (run.config.block, run.config.classes) == ("paper", 10)
    assert run.config.loss_scale == "8"
    assert "not of this version" not in page(folder)


def test_images_that_are_not_there_are_said_and_not_downloaded(tmp_path):
    with pytest.raises(report.UserError, match="test images are not in"):
        mistakes.of_images(trained.Checkpoint("x", 8, TrainConfig(
            data_url=str(tmp_path / "none"), train_url="x"), {}))


def test_a_picture_lies_in_the_middle_of_what_the_network_sees():
    batch = mistakes.centred(np.full([28, 28], 7, np.uint8), 57)
    assert batch.shape == (1, 57, 57, 1) and batch.sum() == 7 * 28 * 28
    assert (batch[0, 14:42, 14:42, 0] == 7).all()


def test_the_brightest_key_of_a_mistake_is_the_brightest_colour(monkeypatch):
    """Scores are products of brightness; see planted.py."""
    import planted
    monkeypatch.setitem(DEPTHS, 50, (1, 1, 1, 1))
    monkeypatch.setattr(trained, "restore", planted._restore)
    config = TrainConfig(
        data_url="x", train_url="x", image_size=64, base_width=2, classes=2,
        non_local="res4:0", block="paper")
    drawn, = mistakes.pictures(
        trained.Checkpoint("planted", 0, config, {}),
        [(0, 1, 0.5, planted._squares())])
    with graph_session() as session:
        pixels = session.run(tf.io.decode_png(drawn)).astype(int).sum(2)
    assert pixels.shape == (96, 2 * 96)                 # 64 of them in 96
    tint = pixels[:, 96:]
    assert np.unravel_index(tint.argmax(), tint.shape) in [
        (y, x) for y in range(54, 62) for x in range(54, 62)]
    assert tint[:8, -8:].max() < tint[57, 57] / 2


@pytest.mark.parametrize("arguments, said", [
    (["none"], "'none' is no folder"), (["."], "has neither"),
    ([".", "--output", "x.txt"], "--output must be a file that ends in")])
def test_bad_input_is_one_line(arguments, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(curves, "matplotlib", lambda: None)
    assert report.main(arguments) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert os.listdir(str(tmp_path)) == []


def test_without_matplotlib_is_one_line(monkeypatch, capsys):
    real = builtins.__import__

    def without(name, *more):
        if name.startswith("matplotlib"):
            raise ImportError("no matplotlib")
        return real(name, *more)

    monkeypatch.setattr(builtins, "__import__", without)
    assert report.main(["."]) == 2
    assert "-m pip install matplotlib" in capsys.readouterr().err
