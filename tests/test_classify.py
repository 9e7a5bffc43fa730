"""Videos, as files and folders, classified by the command."""

import csv
import json
import os

import numpy as np
import pytest
from video_sets import write

from nonlocal_tf import answers, classify, explain, trained
from nonlocal_tf.data.video import decode, views
from nonlocal_tf.training.config import TrainConfig
from nonlocal_tf.weights import checkpoints

cv2 = pytest.importorskip("cv2")
pytestmark = pytest.mark.usefixtures("shallow")

NAMES = ["jump", "run", "s\u00fcit", "walk"]


@pytest.fixture(scope="module")
def run(shallow, tmp_path_factory):
    """A TSM of one bottleneck a stage and four classes."""
    folder = str(tmp_path_factory.mktemp("run"))
    checkpoints.write(TrainConfig(
        network="tsm", base_width=2, image_size=32, classes=4, frames=2,
        non_local="0", train_url=folder), {}, {"class_names": NAMES})
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """b.mp4, deep/a.avi, 30 frames of 49 x 40 each, a text and a clip."""
    found = tmp_path_factory.mktemp("videos")
    (found / "deep").mkdir()
    coarse = np.random.RandomState(0).randint(0, 256, (30, 5, 7, 3))
    images = coarse.astype(np.uint8).repeat(8, 1).repeat(7, 2)
    write(found / "deep" / "a.avi", images)
    write(found / "b.MP4", images[:, :, :48], "mp4v")
    np.save(str(found / "z.npy"), images[:2, :32, :32])
    (found / "notes.txt").write_text("no video")
    (found / ".hidden.avi").write_text("")
    return found


@pytest.fixture(scope="module")
def result(run, folder, tmp_path_factory):
    """JSON, CSV and what else is written of one video, by windows."""
    out = tmp_path_factory.mktemp("out")
    assert classify.main([
        str(folder / "deep" / "a.avi"), "--train_url", run, "--window", "0.4",
        "--json", str(out / "o.json"), "--csv", str(out / "o.csv"),
        "--annotate", str(out / "o.mp4"), "--top", "2"]) == 0
    return out


def test_probabilities_are_the_mean_over_the_protocols_views(
        run, folder, tmp_path):
    path = str(folder / "deep" / "a.avi")
    out, clips = str(tmp_path / "o.json"), str(tmp_path / "x.npy")
    assert classify.main([path, "--train_url", run, "--json", out,
                          "--save_inputs", clips]) == 0
    found = trained.find(run)
    plan = answers.plan(found.config)
    expected = views.test_views(path, plan.protocol, plan.views)
    np.testing.assert_array_equal(np.load(clips), expected)
    with open(out) as file:
        answer, = json.load(file)
    np.testing.assert_allclose(
        answer["probabilities"], trained.Network(found)(expected).mean(0),
        atol=1e-6)
    assert (answer["file"], answer["frames"], answer["views"]) == (
        path, 30, 10)
    assert answer["top"][0]["name"] == NAMES[
        int(np.argmax(answer["probabilities"]))]


def test_a_folder_is_its_videos_and_clips_in_order(
        run, folder, tmp_path, capsys):
    out = str(tmp_path / "o.json")
    assert classify.main([
        str(folder), str(folder / "notes.txt"), "--train_url", run,
        "--json", out, "--csv", str(tmp_path / "o.csv")]) == 1
    with open(out) as file:
        found = json.load(file)
    assert [os.path.basename(each["file"]) for each in found] == [
        "b.MP4", "a.avi", "z.npy", "notes.txt"]
    assert set(found[3]) == {"file", "error"}
    assert "notes.txt" in capsys.readouterr().err
    with open(str(tmp_path / "o.csv"), newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["rank"] for row in rows] == list("1234") * 3 + [""]
    assert rows[-1]["error"] == found[3]["error"]


def test_windows_have_their_times(result):
    with open(str(result / "o.json")) as file:
        answer, = json.load(file)
    assert [(each["start"], each["end"]) for each in answer["windows"]] == [
        (0, .4), (.4, .8), (.8, 1.2)]
    assert [len(each["top"]) for each in answer["windows"]] == [2] * 3
    with open(str(result / "o.csv"), newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["end"] for row in rows] == [""] * 2 + [
        "0.4"] * 2 + ["0.8"] * 2 + ["1.2"] * 2


def test_equal_neighbours_are_one_line_of_the_time_line(capsys):
    classify._say_time_line([
        {"start": start, "end": start + 30, "top": [
            {"class": label, "name": NAMES[label], "probability": share}]}
        for start, label, share in (
            (0, 1, .5), (30, 1, .7), (60, 3, .8), (90, 1, .9))])
    assert capsys.readouterr().out.splitlines() == [
        "    0:00.0 -   1:00.0  60.00%  run",
        "    1:00.0 -   1:30.0  80.00%  walk",
        "    1:30.0 -   2:00.0  90.00%  run"]


def test_an_annotated_video_has_text_below_and_the_frames_above(
        result, folder):
    """Blocks of 8 survive the codec; a last odd column is left out."""
    video = decode.inspect(str(result / "o.mp4"))
    assert video == (30, 30, 25.0, 48, 40, 0)
    path = str(folder / "deep" / "a.avi")
    before, after = (decode.frames(each, [0, 29])[0].astype(int) for each in (
        path, str(result / "o.mp4")))
    change = np.abs(before[:, :, :48] - after).mean((0, 2, 3))
    assert change[:20].max() < 25 and change[36] > 50
    assert os.listdir(str(result)).count("o.mp4") == 1


def test_explain_shows_the_steps(run, folder, capsys):
    assert classify.main([str(folder / "b.MP4"), "--train_url", run, "--views",
                          "1x1", "--explain"]) == 0
    out = capsys.readouterr().out
    assert "As mmaction2-1.x: 1 view of a video" in out
    assert "resized to 44 x 37 (half_up), linear" in out       # of 48 x 40
    assert "cut 32 x 32 at x, y: 6, 2" in out


@pytest.mark.parametrize("flags, words", [
    (["--window", "-1"], "--window must be"),
    (["--window", "nan"], "--window must be"),
    (["--window", "1", "--explain"], "Leave --window out"),
    (["--top", "0"], "--top must be"),
    (["--view_batch", "0"], "--view_batch must be"),
    (["--views", "2x1"], "Give 1x1"),
    (["--annotate", "x.avi"], "must name a .mp4 file"),
    (["--annotate", "x.mp4"], "for one video; got 2 files"),
    (["--save_inputs", "x.npy"], "for one video; got 2 files"),
    (["--json", "."], "'.' is a folder"),
    (["--json", "b.MP4"], "what is to be classified")])
def test_flags_that_cannot_be_followed(
        run, folder, capsys, monkeypatch, flags, words):
    monkeypatch.chdir(str(folder))
    assert classify.main(
        ["b.MP4", "deep/a.avi", "--train_url", run] + flags) == 2
    assert words in capsys.readouterr().err
    assert len(os.listdir(".")) == 5


@pytest.mark.parametrize("command, count", [
    (classify, 2), (classify, 1), (explain, 1)])
def test_answers_that_are_not_finite_are_none(
        folder, tmp_path, capsys, command, count):
    config = TrainConfig(
        network="tsm", base_width=2, image_size=32, classes=4, frames=2,
        non_local="res3:0", train_url=str(tmp_path))
    checkpoints.write(config, {"dense/bias": np.full(4, np.nan, "f")}, {})
    target = tmp_path / "out"
    assert command.main(
        [str(folder / "deep" / "a.avi"), str(folder / "z.npy")][-count:] + [
            "--train_url", str(tmp_path), {
                classify: "--json", explain: "--output"}[command],
            str(target)]) == 2
    said = capsys.readouterr()
    assert "nan" not in said.out and said.err.count("\n") == 1
    assert "they are not finite" in said.err and not target.is_file()


def test_a_folder_without_videos(run, tmp_path, capsys):
    assert classify.main([str(tmp_path), "--train_url", run]) == 2
    assert "it has none" in capsys.readouterr().err
