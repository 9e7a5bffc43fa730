"""Folders in OBS, which are beginnings of keys, against a real S3 server."""

import os

import pytest

pytest.importorskip("moto.server", reason="needs moto[s3] and flask")
pytest.importorskip("obs", reason="needs esdk-obs-python")

from obs_support import CONTENT, local, read  # noqa: E402

from nonlocal_tf import moxing_shim as mox  # noqa: E402
from nonlocal_tf.cloud import copying as moxing_copy  # noqa: E402
from nonlocal_tf.errors import UserError  # noqa: E402

pytest_plugins = ["obs_fixtures"]


def test_more_than_1000_objects_are_all_listed(bucket, tmp_path):
    names = ["{:04d}".format(number) for number in range(1010)]
    for name in names:
        bucket.put("in/" + name, b"")
    assert mox.file.list_directory(bucket.url + "/in") == names
    assert len(bucket.requests("GET")) == 3            # one: is it there?


def test_pages_with_folders_are_all_listed(bucket):
    mox.file.set_auth(list_max_keys=2)
    for key in ("a/1", "a/2", "b", "c/1", "d/1", "e"):
        bucket.put(key, b"")
    assert mox.file.list_directory(bucket.url) == ["a", "b", "c", "d", "e"]


def test_tree_goes_there_and_back(bucket, tmp_path):
    for name in ("one/a", "one/two/b"):
        os.makedirs(str(tmp_path / "in" / name), exist_ok=True)
        local(tmp_path / "in" / name, "file", name.encode("ascii"))
    os.makedirs(str(tmp_path / "in" / "empty"))
    mox.file.copy_parallel(str(tmp_path / "in"), bucket.url + "/x")
    assert bucket.keys() == ["x/empty/", "x/one/a/file", "x/one/two/b/file"]
    mox.file.copy_parallel(bucket.url + "/x/", str(tmp_path / "out"))
    assert read(tmp_path / "out/one/two/b/file") == b"one/two/b"
    assert os.listdir(str(tmp_path / "out" / "empty")) == []


def test_only_what_file_list_names_is_copied(bucket, tmp_path):
    for key in ("in/a", "in/b/c", "in/d"):
        bucket.put(key, b"x")
    mox.file.copy_parallel(bucket.url + "/in", str(tmp_path),
                           file_list=["b/c", "d"])
    assert sorted(os.listdir(str(tmp_path))) == ["b", "d"]


def test_missing_source_is_a_warning(bucket, tmp_path, lines):
    mox.file.copy_parallel(bucket.url + "/no", str(tmp_path / "new"))
    assert [line for line in lines if "No files to copy" in line]


def test_progress_is_logged(bucket, tmp_path, lines, monkeypatch):
    monkeypatch.setattr(moxing_copy, "PROGRESS_SECONDS", 0.02)
    bucket.put("in/a", CONTENT)
    bucket.put("in/b", CONTENT)
    bucket.fault("GET", pattern="in/b", delay=0.3)
    mox.file.copy_parallel(bucket.url + "/in", str(tmp_path))
    assert "Copied 1 of 2 files, 0.3 of 0.5 MB" in lines


def test_stat_has_length_and_time(bucket):
    bucket.put("a/b", CONTENT)
    found = mox.file.stat(bucket.url + "/a/b")
    assert found.length == 256000 and not found.is_directory
    assert found.mtime_nsec > 10 ** 18
    assert mox.file.stat(bucket.url + "/a").is_directory


def test_folder_is_what_other_keys_begin_with(bucket):
    bucket.put("a/b", b"")
    assert mox.file.is_directory(bucket.url + "/a")
    assert not mox.file.is_directory(bucket.url + "/a/b")
    assert mox.file.exists(bucket.url + "/a/")


def test_made_folder_exists(bucket):
    mox.file.make_dirs(bucket.url + "/a/b")
    assert mox.file.is_directory(bucket.url + "/a/b")
    assert mox.file.list_directory(bucket.url + "/a") == ["b"]


def test_mk_dir_wants_the_folder_above(bucket):
    with pytest.raises(OSError, match="a: there is no"):
        mox.file.mk_dir(bucket.url + "/a/b")


def test_folder_is_removed_recursively_alone(bucket):
    for key in ("a/b", "a/c/d", "ab"):
        bucket.put(key, b"")
    mox.file.remove(bucket.url + "/a")
    assert len(bucket.keys()) == 3
    mox.file.remove(bucket.url + "/a", recursive=True)
    assert bucket.keys() == ["ab"]


def test_whole_bucket_is_not_removed(bucket):
    bucket.put("a", b"")
    with pytest.raises(UserError, match="whole bucket"):
        mox.file.remove(bucket.url + "/", recursive=True)
    assert bucket.keys() == ["a"]


def test_rename_moves_from_disk_to_obs(bucket, tmp_path):
    path = local(tmp_path)
    mox.file.rename(path, bucket.url + "/a")
    assert bucket.get("a") == CONTENT and not os.path.exists(path)


def test_rename_of_a_folder_moves_all_of_it(bucket):
    bucket.put("a/b", b"1")
    bucket.put("a/c/d", b"2")
    mox.file.rename(bucket.url + "/a", bucket.url + "/e")
    assert bucket.keys() == ["e/b", "e/c/d"]


def test_append_keeps_what_was_there(bucket):
    bucket.put("a", b"one")
    mox.file.append(bucket.url + "/a", " two")
    assert bucket.get("a") == b"one two"


def test_flush_brings_what_is_written_to_obs(bucket):
    with mox.file.File(bucket.url + "/a", "w") as file:
        file.write("half")
        file.flush()
        assert bucket.get("a") == b"half"
        file.write(" whole")
    assert bucket.get("a") == b"half whole"


def test_glob_matches_within_one_folder(bucket):
    for key in ("a/x1", "a/x2", "a/y", "a/x/z"):
        bucket.put(key, b"")
    assert mox.file.glob(bucket.url + "/a/x?") == [
        bucket.url + "/a/x1", bucket.url + "/a/x2"]


def test_walk_visits_each_folder(bucket):
    for key in ("a/b", "a/c/d"):
        bucket.put(key, b"")
    assert list(mox.file.walk(bucket.url + "/a")) == [
        (bucket.url + "/a", ["c"], ["b"]), (bucket.url + "/a/c", [], ["d"])]
