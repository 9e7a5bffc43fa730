"""moxing.file's names on local paths: what they promise, without a network."""

import os
import threading

import pytest

from nonlocal_tf import moxing_shim as mox
from nonlocal_tf.errors import UserError


@pytest.fixture
def tree(tmp_path):
    """A folder with a file, and a file two folders below."""
    root = tmp_path / "tree"
    (root / "one" / "two").mkdir(parents=True)
    (root / "a").write_bytes(b"content")
    (root / "one" / "two" / "b").write_bytes(b"more content")
    return root


def names(folder):
    return sorted(os.listdir(str(folder)))


def test_contents_land_directly_under_the_target_among_others(
        tree, tmp_path):
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "z").write_bytes(b"")
    mox.file.copy_parallel(
        src_url=str(tree) + "/", dst_url=str(tmp_path / "new") + "/",
        file_list=None, threads=0, is_processing=False, use_queue=False)
    assert names(tmp_path / "new") == ["a", "one", "z"]
    assert (tmp_path / "new/one/two/b").read_bytes() == b"more content"


def test_file_list_names_what_is_copied(tree, tmp_path):
    mox.file.copy_parallel(
        str(tree), str(tmp_path / "new"), file_list=["one/two/b"])
    assert names(tmp_path / "new") == ["one"]
    with pytest.raises(mox.MoxFileNotExistsException, match="tree/c"):
        mox.file.copy_parallel(
            str(tree), str(tmp_path / "new"), file_list=["c"])


def test_one_file_is_copied_to_the_name(tree, tmp_path):
    mox.file.copy_parallel(str(tree / "a"), str(tmp_path / "x" / "b"))
    assert (tmp_path / "x" / "b").read_bytes() == b"content"


def test_nothing_to_copy_is_a_warning(tmp_path, caplog):
    mox.file.copy_parallel(str(tmp_path / "no"), str(tmp_path / "new"))
    assert "No files to copy" in caplog.text


def test_files_are_copied_side_by_side(tree, tmp_path, monkeypatch):
    barrier = threading.Barrier(2)
    monkeypatch.setattr(mox, "_copy", lambda *_: barrier.wait(timeout=2))
    mox.file.copy_parallel(str(tree), str(tmp_path / "new"), threads=2)


def test_copy_into_a_folder_keeps_the_name(tree):
    mox.file.copy(str(tree / "a"), str(tree / "one"))
    assert names(tree / "one") == ["a", "two"]
    with pytest.raises(UserError, match="copy_parallel"):
        mox.file.copy(str(tree), str(tree / "new"))


@pytest.mark.parametrize("recursive", [False, True])
def test_file_is_removed_either_way(tree, recursive):
    mox.file.remove(str(tree / "a"), recursive=recursive)
    assert names(tree) == ["one"]


@pytest.mark.parametrize("name", ["one", "one/"])
def test_folder_is_removed_recursively_alone(tree, name):
    mox.file.remove(str(tree) + "/" + name)
    assert names(tree) == ["a", "one"]
    mox.file.remove(str(tree) + "/" + name, recursive=True)
    assert names(tree) == ["a"]


@pytest.mark.parametrize("action", [mox.file.remove, mox.file.stat,
                                    mox.file.list_directory, mox.file.read])
def test_nothing_there_is_an_error(tree, action):
    with pytest.raises(mox.MoxFileNotExistsException, match="no such file"):
        action(str(tree / "no"))


def test_exists_is_directory_and_stat(tree):
    os.utime(str(tree / "a"), ns=(0, 12 * 10 ** 9))
    found = mox.file.stat(str(tree / "a"))
    assert (found.length, found.mtime_nsec, found.is_directory) == (
        7, 12 * 10 ** 9, False)
    assert mox.file.exists(str(tree)) and not mox.file.exists(str(tree / "z"))
    assert mox.file.is_directory(str(tree))
    assert not mox.file.is_directory(str(tree / "a"))


def test_list_directory_has_relative_names(tree):
    assert mox.file.list_directory(str(tree)) == ["a", "one"]
    assert mox.file.list_directory(str(tree), recursive=True) == [
        "a", "one", "one/two", "one/two/b"]


def test_made_folders_hold_text_and_bytes(tmp_path):
    for _ in range(2):
        mox.file.make_dirs(str(tmp_path / "a" / "b"))
    path = str(tmp_path / "a" / "b" / "c")
    mox.file.write(path, "数据")
    assert mox.file.read(path) == "数据"
    mox.file.write(path, b"1\n\xff", binary=True)
    assert mox.file.read(path, binary=True) == b"1\n\xff"
    with mox.file.File(path, "rb") as file:
        assert file.readline() == b"1\n" and list(file) == [b"\xff"]


def test_shift_says_what_to_do_instead():
    with pytest.raises(NotImplementedError, match="copy_parallel"):
        mox.file.shift("os", "mox")


@pytest.mark.parametrize("url", [
    "", "obs://", "s3:///key", "obs://key@bucket/x", "obs:/b/k", "S3:/b/k",
    "s3a://b/k", "file:///b/k"])
def test_url_that_is_neither_path_nor_obs_is_refused(url):
    with pytest.raises(UserError, match="obs://"):
        mox.file.exists(url)
