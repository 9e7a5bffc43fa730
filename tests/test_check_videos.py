"""Videos checked: what is amiss with real and made files, and the lists."""

import os
import shutil
import signal

import numpy as np
import pytest
import support

from nonlocal_tf import check_videos
from nonlocal_tf.data.video import decode, lists

cv2 = pytest.importorskip("cv2")

CLIPS = os.path.join(support.ROOT, "..", "shared", "data", "video")
real = pytest.mark.skipif(
    not os.path.isdir(CLIPS), reason="no real clips in ../shared/data/video")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Counts of its own for each test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "nonlocal_tf" / "videos.json"


def write(path, seed=0, frames=64, rate=25, size=(128, 112)):
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG,
                             cv2.VideoWriter_fourcc(*"MJPG"), rate, size)
    image = np.full(size[::-1] + (3,), 20 * seed, np.uint8)
    image[:, :2 * seed + 1] = 255
    for _ in range(frames):
        writer.write(image)
    writer.release()
    return str(path)


@pytest.fixture
def videos(tmp_path):
    """Three good videos of two classes."""
    for seed, name in enumerate(("a b/1, x.avi", "a b/2.avi", "c/1.avi")):
        write(tmp_path / "train" / name, seed)
    return tmp_path / "train"


@pytest.fixture
def check(capsys):
    """Runs the command; returns its exit code and lines."""
    def act(*arguments):
        code = check_videos.main([str(each) for each in arguments])
        output = capsys.readouterr()
        return code, output.out.splitlines(), output.err
    return act


def named(lines, kind):
    """The files that are reported as of a kind."""
    start = next(index for index, line in enumerate(lines)
                 if line.startswith("  {}: ".format(kind)))
    count = int(lines[start].split()[-1])
    return [os.path.basename(line.split(": ")[0])
            for line in lines[start + 1:start + 1 + count]]


def test_all_are_good(videos, check):
    code, lines, _ = check(videos)
    assert code == 0
    assert lines[-2:] == [
        "Good videos in {}: 3 of 3".format(videos),
        "  classes: 2; good ones of each: 1 (c) to 2 (a b)"]


@pytest.mark.parametrize("kind, code", [
    ("missing", 1), ("unreadable", 1), ("truncated", 1), ("short", 0),
    ("odd rate", 0), ("odd size", 0)])
def test_each_kind_is_named(videos, check, tmp_path, kind, code):
    path = tmp_path / "odd.avi"
    if kind == "unreadable":
        path.write_bytes(b"none")
    elif kind != "missing":
        write(path, 5, 63 if kind == "short" else 64, 2 if kind == "odd rate"
              else 25, (400, 112) if kind == "odd size" else (128, 112))
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:os.path.getsize(str(path)) // 2])
    (tmp_path / "list").write_text("odd.avi 0\ntrain/c/1.avi 1\n")
    found, lines, _ = check(tmp_path / "list")
    assert (found, named(lines, kind)) == (code, ["odd.avi"])
    assert len([line for line in lines if line.startswith("    ")]) == 1


def test_what_is_short_may_be_chosen(videos, check):
    assert "  short: 3" in check(videos, "--frames", 65)[1]


@real
def test_real_files_of_which_one_is_damaged(check, tmp_path):
    for name in ("decord_corrupted.mp4", "decord_rot_90.mov",
                 "decord_unordered.mov", "mmcv_test.mp4"):
        shutil.copy(os.path.join(CLIPS, name), str(tmp_path))
    code, lines, _ = check(tmp_path)
    assert code == 1
    assert named(lines, "truncated") == ["decord_corrupted.mp4"]
    assert named(lines, "rotated") == ["decord_rot_90.mov"]
    assert named(lines, "odd size") == ["decord_unordered.mov"]
    assert named(lines, "short") == [
        "decord_rot_90.mov", "decord_unordered.mov"]
    assert "Good videos in {}: 3 of 4".format(tmp_path) in lines


def test_a_video_of_the_test_leaves_the_training(videos, check, tmp_path):
    write(tmp_path / "test" / "a b" / "new.avi", 5)
    os.mkdir(str(tmp_path / "test" / "c"))
    shutil.copy(str(videos / "c" / "1.avi"),
                str(tmp_path / "test" / "c" / "other.avi"))
    code, lines, _ = check(
        videos, "--test", tmp_path / "test", "--output", tmp_path / "out")
    assert code == 1 and named(lines, "in the test too") == ["1.avi"]
    assert len(lists.read(str(tmp_path / "out" / "good.txt")).paths) == 2
    assert len(lists.read(str(tmp_path / "out" / "test_good.txt")).paths) == 2


def test_the_same_video_with_two_labels(videos, check):
    shutil.copy(str(videos / "a b" / "2.avi"), str(videos / "c" / "3.avi"))
    code, lines, _ = check(videos)
    assert code == 1 and named(lines, "another label") == ["2.avi", "3.avi"]
    assert any("1 (c) here; " in line and line.endswith("has 0 (a b)")
               for line in lines)


def test_the_same_video_twice_is_no_fault(videos, check):
    shutil.copy(str(videos / "c" / "1.avi"), str(videos / "c" / "3.avi"))
    code, lines, _ = check(videos)
    assert code == 0 and named(lines, "repeated") == ["3.avi"]


def test_good_lists_are_read_back(videos, check, tmp_path):
    """Also where no good video is left of class 0."""
    (videos / "a a").mkdir()
    (videos / "a a" / "bad\n.avi").write_bytes(b"none")
    assert check(videos, "--output", tmp_path / "out")[0] == 1
    found = lists.read(str(tmp_path / "out" / "good.txt"))
    assert found.paths == tuple(str(videos / name) for name in (
        "a b/1, x.avi", "a b/2.avi", "c/1.avi"))
    assert found.labels.tolist() == [1, 1, 2] and not found.remarks
    assert (tmp_path / "out" / "classes.txt").read_text() == "a a\na b\nc\n"
    text = (tmp_path / "out" / "bad.txt").read_text()
    assert text.startswith(str(videos / "a a" / "bad"))
    assert ".avi\tunreadable: it must be a video" in text
    assert (videos / "a a" / "bad\n.avi").read_bytes() == b"none"


def test_lists_without_labels_are_read_back(videos, check, tmp_path):
    assert check(videos / "a b", "--output", tmp_path / "out")[0] == 0
    found = lists.read(str(tmp_path / "out" / "good.txt"))
    assert len(found.paths) == 2 and set(found.labels) == {-1}


def test_its_own_list_is_not_replaced(videos, check, tmp_path):
    (tmp_path / "good.txt").write_text("train/c/1.avi 0\n")
    code, _, error = check(tmp_path / "good.txt", "--output", tmp_path)
    assert code == 2 and "which would be replaced" in error
    assert (tmp_path / "good.txt").read_text() == "train/c/1.avi 0\n"


def test_none_is_there(check, tmp_path):
    (tmp_path / "list").write_text("a.mp4 0\nb.mp4 1\n")
    code, _, error = check(tmp_path / "list")
    assert code == 2 and "none of 2 is, such as" in error
    assert "--video_root" in error and error.count("\n") == 1


def test_test_labels_beyond_those_of_the_training(videos, check, tmp_path):
    (tmp_path / "list").write_text("train/c/1.avi 0\ntrain/a b/2.avi 1\n")
    (tmp_path / "test").write_text("train/c/1.avi 0\ntrain/a b/2.avi 2\n")
    code, _, error = check(tmp_path / "list", "--test", tmp_path / "test")
    assert code == 2 and "line 2: a label must be 0 to 1" in error


def test_ctrl_c_keeps_what_was_counted(videos, check, cache, monkeypatch):
    inspect = decode.inspect

    def interrupting(path):
        if path.endswith("2.avi"):
            os.kill(os.getpid(), signal.SIGINT)
        return inspect(path)

    monkeypatch.setattr(decode, "inspect", interrupting)
    code, _, error = check(videos, "--workers", 1)
    assert code == 130 and "interrupted" in error
    assert '1, x.avi"' in cache.read_text()
