"""What moves to, from and within OBS: nothing is lost on the way."""

import os

import pytest

pytest.importorskip("moto.server", reason="needs moto[s3] and flask")
pytest.importorskip("obs", reason="needs esdk-obs-python")

from obs_support import local, one_line, read  # noqa: E402

from nonlocal_tf import moxing_shim as mox  # noqa: E402
from nonlocal_tf.errors import UserError  # noqa: E402

pytest_plugins = ["obs_fixtures"]


@pytest.mark.parametrize("source, target", [
    ("a", "a/sub"), ("a", "a"), ("a/", "a/"), ("a/x", "a/x"), ("a/x", "a/")])
def test_nothing_moves_into_itself(bucket, source, target):
    bucket.put("a/x", b"1")
    with pytest.raises(UserError, match="within it"):
        mox.file.rename("{}/{}".format(bucket.url, source),
                        "s3://{}/{}".format(bucket.name, target))
    assert bucket.keys() == ["a/x"]


def test_folder_whose_name_only_begins_alike_is_another(bucket):
    bucket.put("a/x", b"1")
    mox.file.rename(bucket.url + "/a", bucket.url + "/ab")
    assert bucket.keys() == ["ab/x"]


def test_move_to_the_folder_above(bucket):
    bucket.put("a/b/x", b"1")
    mox.file.rename(bucket.url + "/a/b", bucket.url + "/a")
    assert bucket.keys() == ["a/x"]


def test_move_that_would_replace_what_is_not_moved_yet_is_refused(bucket):
    bucket.put("a/b/x", b"1")
    bucket.put("a/b/b/x", b"2")
    with pytest.raises(UserError, match="would be replaced"):
        mox.file.rename(bucket.url + "/a/b", bucket.url + "/a")
    assert bucket.get("a/b/x") == b"1" and bucket.get("a/b/b/x") == b"2"


def test_object_that_arrives_meanwhile_stays(bucket):
    bucket.put("a/x", b"1")
    bucket.fault("PUT", pattern="new/x",
                 action=lambda: bucket.put("a/late", b"2"))
    mox.file.rename(bucket.url + "/a", bucket.url + "/new")
    assert bucket.keys() == ["a/late", "new/x"]


def test_local_file_that_arrives_meanwhile_stays(bucket, tmp_path):
    os.makedirs(str(tmp_path / "in" / "sub"))
    local(tmp_path / "in" / "sub", "x")
    bucket.fault("PUT", action=lambda: local(tmp_path / "in", "late"))
    mox.file.rename(str(tmp_path / "in"), bucket.url + "/new")
    assert bucket.keys() == ["new/sub/x"]
    assert os.listdir(str(tmp_path / "in")) == ["late"]


def test_folder_moves_from_disk_with_all_of_it(bucket, tmp_path):
    os.makedirs(str(tmp_path / "in" / "empty"))
    local(tmp_path / "in", "x")
    mox.file.rename(str(tmp_path / "in") + "/", bucket.url + "/new")
    assert bucket.keys() == ["new/empty/", "new/x"]
    assert os.listdir(str(tmp_path)) == []


def test_what_a_link_leads_to_stays(bucket, tmp_path):
    for name in ("in", "other"):
        os.makedirs(str(tmp_path / name))
    path = local(tmp_path / "other", "x")
    os.symlink(str(tmp_path / "other"), str(tmp_path / "in" / "link"))
    mox.file.rename(str(tmp_path / "in"), bucket.url + "/new")
    assert bucket.keys() == ["new/link/x"]
    assert os.listdir(str(tmp_path)) == ["other"] and os.path.exists(path)


def dangling(folder):
    os.symlink("/nowhere", os.path.join(folder, "odd"))


def pipe(folder):
    os.mkfifo(os.path.join(folder, "odd"))


def circle(folder):
    os.symlink(folder, os.path.join(folder, "odd"))


@pytest.mark.parametrize("make", [dangling, pipe, circle])
def test_folder_with_what_cannot_move_stays_whole(bucket, tmp_path, make):
    local(tmp_path, "x")
    make(str(tmp_path))
    with pytest.raises(UserError, match="odd.*cannot be moved"):
        mox.file.rename(str(tmp_path), bucket.url + "/new")
    assert sorted(os.listdir(str(tmp_path))) == ["odd", "x"]
    assert bucket.keys() == []


def test_file_that_cannot_be_looked_at_is_an_error(
        bucket, tmp_path, monkeypatch):
    local(tmp_path, "x")
    stat = os.stat

    def failing(path, *rest, **named):
        if str(path).endswith("/x"):
            raise OSError(5, "Input/output error")
        return stat(path, *rest, **named)

    monkeypatch.setattr(os, "stat", failing)
    for action in (mox.file.rename, mox.file.copy_parallel):
        with pytest.raises(OSError, match="Input/output"):
            action(str(tmp_path), bucket.url + "/new")
    monkeypatch.undo()
    assert os.listdir(str(tmp_path)) == ["x"]


def test_name_with_two_slashes_is_refused_within_obs(bucket):
    bucket.put("col/c", b"1")
    bucket.put("col//c", b"2")
    for action in (mox.file.rename, mox.file.copy_parallel):
        with pytest.raises(mox.MoxFileNameDuplicateException, match="//"):
            action(bucket.url + "/col", bucket.url + "/new")
    assert bucket.get("col/c") == b"1" and bucket.get("col//c") == b"2"
    assert len(bucket.keys()) == 2


def test_markers_move_and_one_with_content_is_refused(bucket):
    for key in ("a/", "a/empty/", "a/x"):
        bucket.put(key, b"")
    bucket.put("b/d/", b"content")
    mox.file.rename(bucket.url + "/a", bucket.url + "/new")
    with pytest.raises(UserError, match="b/d/.*content"):
        mox.file.rename(bucket.url + "/b", bucket.url + "/new")
    assert bucket.keys() == ["b/d/", "new/empty/", "new/x"]


def test_empty_folder_moves(bucket):
    mox.file.make_dirs(bucket.url + "/a")
    mox.file.rename(bucket.url + "/a", bucket.url + "/new")
    assert bucket.keys() == ["new/"]


# Copies.

def test_object_and_folder_of_one_name_within_obs(bucket):
    bucket.put("dup", b"1")
    bucket.put("dup/x", b"2")
    with pytest.raises(mox.MoxFileNameDuplicateException) as caught:
        mox.file.copy_parallel(bucket.url + "/dup", bucket.url + "/new")
    assert "dup/ as the source" in one_line(caught)
    mox.file.copy_parallel(bucket.url + "/dup/", bucket.url + "/new")
    assert bucket.keys() == ["dup", "dup/x", "new/x"]


def test_file_list_needs_a_folder(bucket):
    bucket.put("a", b"1")
    with pytest.raises(UserError, match="file_list needs a folder"):
        mox.file.copy_parallel(bucket.url + "/a", bucket.url + "/b",
                               file_list=["a"])


def test_name_of_255_bytes_arrives(bucket, tmp_path):
    name = "\u6570" * 85
    bucket.put("a/" + name, b"1")
    mox.file.copy_parallel(bucket.url + "/a", str(tmp_path))
    assert read(tmp_path / name) == b"1"


def test_local_name_that_is_no_utf8_is_named_first(bucket, tmp_path):
    local(tmp_path, "a")
    with open(os.path.join(os.fsencode(str(tmp_path)), b"\xff"), "wb"):
        pass
    with pytest.raises(UserError, match="udcff.*UTF-8") as caught:
        mox.file.copy_parallel(str(tmp_path), bucket.url + "/a")
    one_line(caught).encode("utf-8")
    assert bucket.keys() == []


def test_walk_of_nothing_yields_nothing(bucket):
    assert list(mox.file.walk(bucket.url + "/no")) == []
    mox.file.make_dirs(bucket.url + "/empty")
    assert list(mox.file.walk(bucket.url + "/empty")) == [
        (bucket.url + "/empty", [], [])]
