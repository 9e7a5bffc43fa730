"""Lists of videos: their formats, and labels that would be wrong."""

import os
import re

import numpy as np
import pytest

from nonlocal_tf.data.class_names import named
from nonlocal_tf.data.video import lists
from nonlocal_tf.errors import UserError

KINETICS, UCF = named("kinetics400"), named("ucf101")


@pytest.fixture
def read(tmp_path):
    """Reads a list of some text; paths are relative to its folder."""
    def act(text, root="", class_names=(), classes=None, name="list.txt"):
        path = tmp_path / name
        path.write_bytes(text.encode("utf-8"))
        found = lists.read(str(path), root, class_names, classes)
        start = str(tmp_path) + os.sep
        return found._replace(paths=[
            each.replace(start, "") for each in found.paths],
            labels=found.labels.tolist())
    return act


@pytest.fixture
def refused(read):
    """What a list is refused with: one line."""
    def act(*arguments, **settings):
        with pytest.raises(UserError) as error:
            read(*arguments, **settings)
        assert "\n" not in str(error.value)
        return str(error.value)
    return act


def make(folder, *files):
    """Empty files."""
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(b"")


@pytest.mark.parametrize("text", [
    "a b.mp4 0\nc, d.mp4 2\n#e.avi 1\n",
    "\ufeffa b.mp4\t0\r\nc, d.mp4  2\r\n\r\n#e.avi 1",
    "a b.mp4,0\nc, d.mp4,2\n#e.avi, 1\n",
    "a b.mp4,0\n\"c, d.mp4\",2\n#e.avi,1\n",
    "Path,Label\na b.mp4,0\n\"c, d.mp4\",2\n#e.avi,1\n",
    "number;TAG;Video Name\n7;0;a b.mp4\n8;2;c, d.mp4\n9;1;#e.avi\n",
    "video\tindex\na b.mp4\t0.0\nc, d.mp4\t2.0\n#e.avi\t1.0\n"])
def test_paths_and_numbers(read, text):
    found = read(text)
    assert found[:4] == (
        ["a b.mp4", "c, d.mp4", "#e.avi"], [0, 2, 1], (), ())


@pytest.mark.parametrize("text", [
    "a b.mp4\nc, d.AVI\n", "path\na b.mp4\n\"c, d.AVI\"\n"])
def test_paths_alone(read, text):
    assert read(text)[:3] == (["a b.mp4", "c, d.AVI"], [-1, -1], ())


def test_labels_are_int32(tmp_path):
    (tmp_path / "list").write_text("a 0\n")
    assert lists.read(str(tmp_path / "list")).labels.dtype == np.int32


@pytest.mark.parametrize("text", [
    "a.mp4 tai chi\nb.mp4 archery\n", "a.mp4,tai chi\nb.mp4,archery\n",
    "file,class\na.mp4,tai_chi\nb.mp4,Archery\n"])
def test_labels_may_be_names(read, text):
    found = read(text, class_names=KINETICS)
    assert (found.labels, found.class_names) == ([346, 5], KINETICS)


def test_names_that_nobody_knows_are_sorted_and_it_is_said(read):
    found = read("a.mp4 b\nb.mp4 B\nc.mp4 a c\n")
    assert found.class_names == ("B", "a c", "b") and found.labels == [2, 0, 1]
    assert "the 3 names in the list, sorted" in found.remarks[0]


@pytest.mark.parametrize("labels, classes, expected", [
    ("1 2 3", None, [0, 1, 2]), ("3 1", 3, [2, 0]), ("0 2", 3, [0, 2]),
    ("2 3 3", 3, [1, 2, 2]), ("0 7", None, [0, 7]), ("4 2", 7, [4, 2])])
def test_labels_count_from_0_or_from_1(read, labels, classes, expected):
    text = "".join("{}.mp4 {}\n".format(*each)
                   for each in enumerate(labels.split()))
    found = read(text, classes=classes)
    assert found.labels == expected
    assert bool(found.remarks) == ("0" not in labels)


@pytest.mark.parametrize("text, classes, message", [
    ("a 1\nb 3\n", None, "2 numbers from 1 to 3. Begin the list with"),
    ("a 1\nb 3\n", 5, "2 numbers from 1 to 3, of 5 classes"),
    ("a 0\nb 5\n", 5, "line 2: a label must be 0 to 4, of 5 classes; got 5"),
    ("a 1\nb 6\n", 5, "line 2: a label must be 0 to 4, of 5 classes; got 6"),
    ("a 1\nb -1\n", None, "line 2: a label must be 0 to 99999; got -1"),
    ("a 1\nb 5555555555\n", None, "line 2: .* got 5555555555"),
    ("a 1\n\nb.mp4\n", None, "line 3: a label must be there"),
    ("a.mp4 1\nb.mp4 x\n", None, "line 2: a label must be a num.* got 'x'"),
    ("a.mp4 1 0 2\n", None, "line 1: one label must .* got '1 0 2'"),
    ("path,label\na, b.mp4,0\n", None, "line 2: there must be 2 columns"),
    ("path,label\na.mp4,\n", None, "line 2: label must have a value"),
    ("a 0\nb 1\na 1\n", None, "line 3: .* 1 here and 0 on line 1"),
    ("\n", None, "must have videos; it has none"),
    ("path,label\n", None, "must have videos; it has none"),
    ("a.mp4\0", None, "a text in UTF-8; it is none"),
    ("a.mp4 x\nb.mp4 y\n", 3, "must have 3 classes; it has 2, from 'x' to"),
    ("a.mp4 x\n", 3, "Convert or train with --class_names")])
def test_what_is_refused(refused, text, classes, message):
    assert re.search(message, refused(text, classes=classes))


@pytest.mark.parametrize("start", [0, 1])
def test_a_header_can_tell_where_labels_start(read, start):
    found = read("path,label_from_{}\na,1\nb,3\n".format(start))
    assert found.labels == [1 - start, 3 - start] and not found.remarks


def test_an_unknown_name_is_refused(refused):
    line = refused("a.mp4 juggling\n", class_names=KINETICS)
    assert "line 1: 'juggling' must be one of the 400 known" in line
    assert "convert or train with --class_names" in line


def test_a_video_that_is_there_again_is_said(read):
    found = read("a 0\na 0\n")
    assert found.paths == ["a", "a"]
    assert "1 (first: " in found.remarks[0] and "line 2" in found.remarks[0]


def test_no_list_and_no_root(tmp_path, refused):
    with pytest.raises(UserError, match="a text or a folder; .*No such file"):
        lists.read(str(tmp_path / "none"))
    assert "--video_root must be" in refused("a 0\n", root="/nowhere")


def test_paths_are_relative_to_the_root(read, tmp_path):
    make(tmp_path, "root/a.mp4")
    assert read("a.mp4 0\n/b.mp4 0\n", root=str(tmp_path / "root")).paths == [
        "root/a.mp4", "/b.mp4"]


def test_paths_may_be_relative_to_the_current_folder(
        read, tmp_path, monkeypatch):
    make(tmp_path, "here/a.mp4")
    monkeypatch.chdir(tmp_path / "here")
    found = read("a.mp4 0\nb.mp4 0\n")
    assert found.paths == ["a.mp4", "b.mp4"]
    assert "relative to the current folder" in found.remarks[0]


def test_lists_of_frames_are_refused(refused, tmp_path):
    make(tmp_path, "a/img_00001.jpg")
    for text in ("a 1 0\n", "a 0\n"):
        assert "Folders of frames are not read" in refused(text)


def tree(folder, names):
    for name in names:
        make(folder, os.path.join("tree", name, "x.mp4"))
    return str(folder / "tree")


def test_a_folder_for_each_class(tmp_path):
    make(tmp_path, "b/2.avi", "b/1.MKV", "a c/x y.mp4", "a c/notes.txt",
         ".git/x.mp4", "d/.x.mp4", "list.txt")
    found = lists.read(str(tmp_path))
    assert found.paths == tuple(os.path.join(str(tmp_path), path) for path in (
        "a c/x y.mp4", "b/1.MKV", "b/2.avi"))
    assert (found.labels.tolist(), found.class_names) == (
        [0, 1, 1], ("a c", "b"))
    assert "1 (first: 'a c/notes.txt')" in found.remarks[0]
    assert "Folders without a video: 1 (first: 'd')" in found.remarks[1]


def test_folders_that_are_numbers_are_sorted_as_such(tmp_path):
    found = lists.read(tree(tmp_path, ("10", "9")))
    assert found.class_names == ("9", "10")
    assert found.labels.tolist() == [1, 0]


def test_a_folder_of_videos_has_no_labels(tmp_path):
    make(tmp_path, "b.mp4", "a.mp4", "c.txt")
    found = lists.read(str(tmp_path))
    assert [os.path.basename(path) for path in found.paths] == [
        "a.mp4", "b.mp4"]
    assert found.labels.tolist() == [-1, -1]


def test_a_folder_above_those_of_train_and_test(tmp_path):
    make(tmp_path, "train/a/x.mp4", "val/a/y.mp4")
    with pytest.raises(UserError, match="'train/a' is a folder. Name the one"):
        lists.read(str(tmp_path))


def test_a_missing_class_folder_shifts_no_label(tmp_path):
    path = tree(tmp_path, [name for name in UCF if name != "Archery"])
    found = lists.read(path, "", UCF)
    assert sorted(set(range(101)) - set(found.labels)) == [2]
    assert "not there: 1 (Archery). Labels go by names" in found.remarks[-1]
    found = lists.read(path)
    assert len(found.class_names) == 100
    assert "--class_names ucf101 keeps its own" in found.remarks[-1]
    with pytest.raises(UserError, match="must have 101 classes; it has 100"):
        lists.read(path, "", (), 101)


def test_folders_without_blanks_keep_the_published_order(tmp_path):
    """Sorted as folders, some would have another label."""
    short = [name.replace(" ", "") for name in KINETICS]
    assert sum(map(str.__ne__, short, sorted(short))) >= 15
    path = tree(tmp_path, short)
    for known in ((), KINETICS):
        found = lists.read(path, "", known)
        assert found.class_names == KINETICS
        assert [short[label] for label in found.labels] == [
            os.path.basename(os.path.dirname(each)) for each in found.paths]
    assert "spelt otherwise" in found.remarks[0]
    assert "another order; labels go by names" in found.remarks[1]


def test_labels_of_first_appearance_are_refused(refused):
    text = "x/zumba/a.mp4 0\nx/archery/b.mp4 1\n"
    assert "line 1: label 0 is in folder 'zumba', whose class is number 399 " \
        "of 400, from 0" in refused(text, class_names=KINETICS)


def test_folders_tell_whether_labels_count_from_1(read):
    found = read("tai_chi/a.mp4 347\narchery/b.mp4 6\n", class_names=KINETICS)
    assert found.labels == [346, 5]
    assert "names of the folders show" in found.remarks[0]


CLASS_IND = "".join("{} {}\r\n".format(*each) for each in enumerate(UCF, 1))
TRAIN = "Archery/v_Archery_g01_c01.avi {}\nYoYo/v_YoYo_g01_c01.avi {}\n"


@pytest.mark.parametrize("labels", [(3, 101), (2, 100)])
def test_ucf_lists_with_class_ind(read, tmp_path, labels):
    (tmp_path / "classInd.txt").write_text(CLASS_IND)
    found = read(TRAIN.format(*labels))
    assert (found.labels, found.class_names) == ([2, 100], UCF)


def test_a_ucf_list_without_labels_takes_its_folders(read, tmp_path):
    (tmp_path / "classInd.txt").write_text(CLASS_IND)
    found = read("YoYo/v_YoYo_g01_c01.avi\nArchery/v_Archery_g01_c01.avi\n")
    assert (found.labels, found.class_names) == ([100, 2], UCF)
    assert "taken from the videos' folders" in found.remarks[0]


def test_ucf_labels_that_contradict_class_ind(refused, tmp_path):
    """One port has class 101 as 0, and leaves the others."""
    (tmp_path / "classInd.txt").write_text(CLASS_IND)
    assert "line 2: label 0 is in folder 'YoYo'" in refused(
        TRAIN.format(3, 0))


def test_a_list_with_its_own_order_goes_by_names(read, tmp_path):
    (tmp_path / "classInd.txt").write_text(CLASS_IND)
    found = read(TRAIN.format(3, 101), class_names=UCF[::-1])
    assert (found.labels, found.class_names) == ([98, 0], UCF[::-1])
    assert "another order; labels go by names" in found.remarks[-1]


CSV = ("label,youtube_id,time_start,time_end,split\n"
       "\"\"\"tai chi\"\"\",-Ab_1,7,17,val\narchery,x_00,120,130,val\n"
       "archery,none,1,11,val\n")


@pytest.mark.parametrize("files", [
    ["-Ab_1_000007_000017.mp4", "x_00_000120_000130.mkv",
     "none_000001_000011.mp4"],
    ["tai_chi/-Ab_1_000007_000017.webm", "archery/x_00_000120_000130.mp4",
     "archery/none_000001_000011.mp4"],
    ["tai chi/-Ab_1_000007_000017.mp4", "x_00_000120_000130.mp4",
     "none_000001_000011.mp4"]])
def test_kinetics_csv(read, tmp_path, files):
    make(tmp_path, *files[:2])
    found = read(CSV, class_names=KINETICS, name="val.csv")
    assert (found.paths, found.labels) == (files, [346, 5, 5])


def test_kinetics_csv_without_labels_and_with_bad_times(read, refused):
    found = read("youtube_id,time_start,time_end\na,1.0,11.0\n")
    assert found[:2] == (["a_000001_000011.mp4"], [-1])
    assert "line 2: times must be seconds; got 'x' and '1'" in refused(
        "youtube_id,time_start,time_end\na,x,1\n")
    assert "columns time_start and time_end" in refused(
        "youtube_id,label\na,x\n")


def test_names_of_files_are_bytes(tmp_path):
    name = b"\xc4\xe3.mp4"
    (tmp_path / "list").write_bytes(name + b" 0\n")
    found = lists.read(str(tmp_path / "list"))
    assert os.fsencode(os.path.basename(found.paths[0])) == name


@pytest.mark.parametrize("training, test, expected", [
    ("12345", "24", [1, 3]),            # from 1
    ("0123", "123", [1, 2, 3])])        # from 0
def test_the_tests_labels_count_as_the_trainings(
        tmp_path, training, test, expected):
    paths = []
    for name, labels in (("train", training), ("test", test)):
        paths.append(tmp_path / (name + ".txt"))
        paths[-1].write_text("".join(
            "{}{}.mp4 {}\n".format(name, label, label) for label in labels))
    found = lists.read(str(paths[0]))
    assert lists.read(str(paths[1]), start=found.start).labels.tolist() == (
        expected)
