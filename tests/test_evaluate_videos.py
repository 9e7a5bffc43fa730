"""The test of a list of videos, against numbers by hand."""

import csv
import json

import numpy as np
import pytest
from support import thin_config
from test_videos import cut
from video_sets import write

from nonlocal_tf import answers, evaluate, scores, trained
from nonlocal_tf.data.video import lists
from nonlocal_tf.data.video.lists import VideoList
from nonlocal_tf.errors import UserError
from nonlocal_tf.training.config import TrainConfig
from nonlocal_tf.weights import checkpoints

cv2 = pytest.importorskip("cv2")

NAMES = ("a", "b", "c", "d", "e", "f", "no video")
# By grey level; views of clip 2, whose frames are one lighter, say "a".
SHARES = {
    40: [.30, .25, .20, .10, .09, .06, 0], 80: [.05, .50, .25, .1, .06, .04, 0],
    120: [.28, .21, .2, .16, .14, .01, 0], 160: [.02, .1, .2, .6, .05, .03, 0]}
LABELS = [0, 1, 5, 3, 1, 6, 6]
PLAN = answers.plan(TrainConfig(
    network="c2d", image_size=32, frames=2, frame_interval=4), views="2x1")
SETTINGS = {"checkpoint": "x", "list": "y"}


def network(batch):
    """From the level of a view's first pixel; of lighter ones always "a"."""
    level = int(batch[0, 0, 0, 0, 0])
    return np.array([SHARES[level] if level in SHARES else [1.] + [0] * 6])


@pytest.fixture(scope="module")
def listed(tmp_path_factory):
    """Four videos of 8 frames, one of 7, an empty one and none."""
    folder = tmp_path_factory.mktemp("videos")
    paths = []
    for number, level in enumerate((40, 80, 120, 160, 80)):
        levels = level + np.repeat((0, 1), 4).astype(np.uint8)
        paths.append(write(folder / "{}.avi".format(number), np.broadcast_to(
            levels[:8 - (number == 4), None, None, None],
            (8 - (number == 4), 40, 48, 3)).astype(np.uint8)))
    (folder / "empty.avi").write_bytes(b"")
    return VideoList(tuple(paths) + (str(folder / "empty.avi"),
                                     str(folder / "none.avi")),
                     np.array(LABELS, np.int32))


def run(listed, folder, network=network, settings=SETTINGS):
    return evaluate.test(network, PLAN, listed, str(folder), settings, NAMES)


@pytest.fixture(scope="module")
def done(listed, tmp_path_factory):
    folder = tmp_path_factory.mktemp("done")
    assert run(listed, folder) == 1
    return folder


def summary(folder):
    with open(str(folder / "summary.json")) as file:
        return json.load(file)


def test_rates_and_counts(done):
    """Means of the two views, "a" being 1 in the second.

    0: a .65, right. 1: a .525 before b .275. 2: a .64, and f is sixth. 3: a
    .51 before d .3. 4, in whose second view frame 3 is the first: b .5, right.
    First views alone: 0, 1, 3, 4 are right.
    """
    found = summary(done)
    assert {name: found[name] for name in (
        "videos", "readable", "missing", "unreadable", "truncated", "looped")
    } == {"videos": 7, "readable": 5, "missing": 1, "unreadable": 1,
          "truncated": 0, "looped": 1}
    for name, value in {
            "top1": 2 / 7, "top5": 4 / 7, "top1_readable": 2 / 5,
            "top5_readable": 4 / 5, "clip1": 4 / 5,
            "mean_class": 1.5 / 4}.items():       # of a, b, d, f
        assert found[name] == pytest.approx(value), name


def test_each_video_has_a_line(done, listed):
    lines = (done / "videos.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert [record["path"] for record in records] == list(listed.paths)
    assert records[0]["top"][0] == {"class": 0, "probability": .65}
    assert [each["class"] for each in records[3]["top"]] == [0, 3, 2, 1, 4]
    assert [record["looped"] for record in records[:5]] == [False] * 4 + [True]
    assert "it is empty" in records[5]["error"] and not records[5]["missing"]
    assert records[6]["missing"]


def rows(path):
    with open(str(path), newline="") as file:
        return list(csv.reader(file))


def test_tables(done):
    assert rows(done / "classes.csv")[:3] == [
        ["class", "name", "videos", "readable", "top1", "top5"],
        ["0", "a", "1", "1", "1.0", "1.0"],
        ["1", "b", "2", "2", "0.5", "1.0"]]
    assert rows(done / "classes.csv")[7] == [
        "6", "no video", "2", "0", "", ""]
    assert rows(done / "confusion.csv") == [
        ["label \\ answer"] + list(NAMES)] + [
        [name, a, b] + ["0"] * 5 for name, a, b in zip(
            NAMES, "1101010", "0100000")]


def test_the_picture_has_a_dark_field_for_each_row(done):
    image = cv2.imread(str(done / "confusion.png"), 0)
    # The classes that occur: a, b, d, f. One of the two b is taken for a.
    size = scores._CELL
    left = image.shape[1] - 4 * size - 4
    assert [image[left + size * row + 3, left + size * column + 18]
            for row in range(4) for column in range(4)] == (
                [0, 255, 255, 255, 127, 127, 255, 255]
                + 2 * [0, 255, 255, 255])


def test_the_worst_come_first_with_their_names(listed, tmp_path, capsys):
    run(listed, tmp_path)
    out = capsys.readouterr().out
    assert "top-1 28.57%, top-5 57.14% of 7 videos" in out
    assert "of the 5 that could be read top-1 40.00%, top-5 80.00%" in out
    assert "clip-1 80.00%: the first view alone, clip 1 of 2" in out
    assert "1 missing, 1 unreadable, 0 truncated, 1 looped" in out
    wrong = out.split("wrong and surest of it, of 3:\n")[1].split("\n")
    assert wrong[0].endswith("2.avi is f, not a") and "64.00%" in wrong[0]
    assert "it is empty" in out and "none.avi" in out


def test_interrupted_it_goes_on(listed, done, tmp_path):
    calls = []

    def interrupted(batch):
        calls.append(batch)
        if len(calls) == 6:             # the second view of the third video
            raise KeyboardInterrupt
        return network(batch)

    with pytest.raises(KeyboardInterrupt):
        run(listed, tmp_path, interrupted)
    videos = tmp_path / "videos.jsonl"
    assert len(videos.read_text().splitlines()) == 2
    with videos.open("a") as file:
        file.write('{"number": 2, "top"')       # as a kill may leave it
    assert run(listed, tmp_path, interrupted) == 1
    assert len(calls) == 6 + 3 * 2
    assert summary(tmp_path) == summary(done)
    assert videos.read_text() == (done / "videos.jsonl").read_text()


def test_what_could_not_be_read_is_tried_again(listed, tmp_path):
    with open(listed.paths[3], "rb") as file:
        data = file.read()
    late = tmp_path / "late.avi"
    two = listed._replace(paths=(listed.paths[0], str(late)),
                          labels=np.array([0, 0]))
    out = tmp_path / "out"
    out.mkdir()
    assert run(two, out) == 1
    late.write_bytes(data)
    assert run(two, out) == 0
    assert summary(out)["top1"] == 1 and summary(out)["missing"] == 0


def test_a_cut_video_counts_as_truncated(listed, tmp_path):
    noise = np.random.RandomState(0).randint(0, 256, (40, 40, 48, 3))
    half = cut(write(tmp_path / "a.avi", noise.astype(np.uint8)),
               tmp_path / "half.avi", 0.5)
    one = listed._replace(paths=(half,), labels=np.array([3]))
    assert run(one, tmp_path) == 0
    assert summary(tmp_path)["truncated"] == 1


def test_results_of_something_else_are_not_gone_on_with(listed, done):
    before = (done / "videos.jsonl").read_text()
    with pytest.raises(UserError, match="another list. Remove that folder"):
        run(listed, done, settings=dict(SETTINGS, list="z"))
    assert (done / "videos.jsonl").read_text() == before


def test_not_one_readable_is_an_error(listed, tmp_path):
    none = listed._replace(paths=listed.paths[5:], labels=np.array([0, 0]))
    with pytest.raises(UserError, match="Not one of the 2 .* it is empty"):
        run(none, tmp_path)
    assert summary(tmp_path)["top1"] == 0


def test_a_list_without_a_label():
    listed = VideoList(("0.avi", "1.avi"), np.array([0, -1], np.int32))
    with pytest.raises(UserError, match="has none for '1.avi'"):
        lists.check_labelled(listed, "list.txt")


def test_a_network_of_digits_is_refused(shallow, tmp_path, capsys):
    checkpoints.write(thin_config("", tmp_path), {}, {})
    assert evaluate.main(["--train_url", str(tmp_path),
                          "--data_url", "x"]) == 2
    assert "must have a network of clips" in capsys.readouterr().err


def test_other_weights_are_another_checkpoint(listed, tmp_path):
    found = []
    for text in ("a", "b"):
        (tmp_path / "ckpt-0.index").write_text(text)
        found.append(evaluate.identity(trained.Checkpoint(
            str(tmp_path / "ckpt-0"), 0, None, {}), PLAN, listed))
    assert found[0]["checkpoint"] != found[1]["checkpoint"]
    assert found[0]["list"] == found[1]["list"]


def test_the_command(shallow, listed, tmp_path, capsys):
    run_folder, text = str(tmp_path / "run"), tmp_path / "val.txt"
    checkpoints.write(TrainConfig(
        network="tsm", base_width=2, image_size=32, classes=7, frames=2,
        non_local="0", train_url=run_folder), {}, {"class_names": NAMES})
    text.write_text("".join("{} {}\n".format(*row) for row in zip(
        listed.paths[:4], LABELS)))
    arguments = ["--train_url", run_folder, "--data_url", str(text),
                 "--protocol", "mmaction2-0.x"]
    assert evaluate.main(arguments) == 0
    folder = tmp_path / "run" / "evaluate" / "val-0-mmaction2-0.x-1x1"
    first = summary(folder)
    assert first["readable"] == 4 and first["views"] == "1x1"
    assert "The network is of mmaction2-1.x" in capsys.readouterr().out
    assert evaluate.main(arguments) == 0
    assert "4 videos, 4 done" in capsys.readouterr().out
    assert summary(folder) == first
