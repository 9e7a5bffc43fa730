"""moxing.file's names on local paths: what they promise, without a network."""

import errno
import logging
import os
import threading
import time

import pytest

from nonlocal_tf import moxing_shim as mox
from nonlocal_tf.cloud import copying as moxing_copy
from nonlocal_tf.cloud import places as moxing_places
from nonlocal_tf.errors import UserError


@pytest.fixture
def tree(tmp_path):
    """A folder with a file, an empty folder and a file two folders below."""
    root = tmp_path / "tree"
    (root / "one" / "two").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "a").write_bytes(b"content")
    (root / "one" / "two" / "b").write_bytes(b"more content")
    return root


@pytest.fixture
def warnings():
    """The warnings that are logged."""
    found = []

    class Handler(logging.Handler):
        def emit(self, record):
            found.append(record.getMessage())

    handler, logger = Handler(logging.WARNING), logging.getLogger("absl")
    logger.addHandler(handler)
    yield found
    logger.removeHandler(handler)


def names(folder):
    return sorted(os.listdir(str(folder)))


def test_every_documented_name_is_there():
    for name in (
            "File read write append append_remote copy copy_parallel exists "
            "is_directory stat get_size list_directory glob walk scan_dir "
            "make_dirs mk_dir remove rename set_auth shift").split():
        assert callable(getattr(mox.file, name))


@pytest.mark.parametrize("name", [
    "MoxFileNotExistsException", "MoxFileNameDuplicateException",
    "MoxFileReadException", "MoxFileRespException"])
def test_every_exception_is_an_oserror(name):
    assert issubclass(getattr(mox.file, name), OSError)


# copy_parallel

def test_contents_land_directly_under_the_target(tree, tmp_path):
    mox.file.copy_parallel(str(tree), str(tmp_path / "new" / "place"))
    assert names(tmp_path / "new" / "place") == ["a", "empty", "one"]
    assert (tmp_path / "new/place/one/two/b").read_bytes() == b"more content"


def test_documented_keywords_are_taken(tree, tmp_path):
    mox.file.copy_parallel(
        src_url=str(tree) + "/", dst_url=str(tmp_path / "new") + "/",
        file_list=None, threads=0, is_processing=False, use_queue=False)
    assert names(tmp_path / "new") == ["a", "empty", "one"]


def test_unknown_keyword_is_named_and_ignored(tree, tmp_path, warnings):
    mox.file.copy_parallel(str(tree), str(tmp_path / "new"), speed=9)
    assert warnings == ["copy_parallel: ignored: speed"]
    assert names(tmp_path / "new") == ["a", "empty", "one"]


def test_other_files_in_the_target_stay(tree, tmp_path):
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "z").write_bytes(b"")
    (tmp_path / "new" / "a").write_bytes(b"earlier")
    mox.file.copy_parallel(str(tree), str(tmp_path / "new"))
    assert names(tmp_path / "new") == ["a", "empty", "one", "z"]
    assert (tmp_path / "new" / "a").read_bytes() == b"content"


def test_file_list_names_what_is_copied(tree, tmp_path):
    mox.file.copy_parallel(
        str(tree), str(tmp_path / "new"), file_list=["one/two/b"])
    assert names(tmp_path / "new") == ["one"]
    assert names(tmp_path / "new" / "one" / "two") == ["b"]


def test_missing_name_of_file_list_is_refused_first(tree, tmp_path):
    with pytest.raises(mox.MoxFileNotExistsException, match="tree/c"):
        mox.file.copy_parallel(
            str(tree), str(tmp_path / "new"), file_list=["a", "c"])
    assert not (tmp_path / "new").exists()


def test_folder_in_file_list_is_refused(tree, tmp_path):
    with pytest.raises(UserError, match="'one' is a folder"):
        mox.file.copy_parallel(
            str(tree), str(tmp_path / "new"), file_list=["one"])


def test_one_file_is_copied_to_the_name(tree, tmp_path):
    mox.file.copy_parallel(str(tree / "a"), str(tmp_path / "x" / "b"))
    assert (tmp_path / "x" / "b").read_bytes() == b"content"


@pytest.mark.parametrize("source", ["missing", "empty"])
def test_nothing_to_copy_is_a_warning(tree, tmp_path, warnings, source):
    mox.file.copy_parallel(str(tree / source), str(tmp_path / "new"))
    assert len(warnings) == 1 and "No files to copy" in warnings[0]


def test_files_are_copied_side_by_side(tree, tmp_path, monkeypatch):
    (tree / "c").write_bytes(b"")
    barrier = threading.Barrier(3)

    def transfer(*_):
        barrier.wait(timeout=2)

    monkeypatch.setattr(moxing_copy, "transfer", transfer)
    mox.file.copy_parallel(str(tree), str(tmp_path / "new"), threads=3)


def test_failure_is_raised_and_leaves_no_part(tree, tmp_path):
    (tmp_path / "new" / "a").mkdir(parents=True)       # where a file must go
    with pytest.raises(OSError) as caught:
        mox.file.copy_parallel(str(tree), str(tmp_path / "new"))
    assert caught.value.errno == errno.EISDIR
    assert not [name for name in names(tmp_path / "new") if "part" in name]


def test_link_that_leads_back_is_left_out(tree, tmp_path, warnings):
    (tree / "one" / "back").symlink_to(tree)
    mox.file.copy_parallel(str(tree), str(tmp_path / "new"))
    assert names(tmp_path / "new" / "one") == ["back", "two"]
    assert names(tmp_path / "new" / "one" / "back") == []
    assert "leads back" in warnings[0]


def test_pipe_is_left_out(tree, tmp_path, warnings):
    os.mkfifo(str(tree / "pipe"))
    mox.file.copy_parallel(str(tree), str(tmp_path / "new"))
    assert "pipe" not in names(tmp_path / "new") and "pipe" in warnings[0]


def test_threads_leave_the_umask_alone(tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    for number in range(32):
        (tmp_path / "in" / str(number)).write_bytes(b"")
    umask = os.umask

    def slow_umask(mask):                              # so that threads meet
        before = umask(mask)
        time.sleep(0.002)
        return before

    before = umask(0o027)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(os, "umask", slow_umask)
            mox.file.copy_parallel(str(tmp_path / "in"), str(tmp_path / "new"))
        assert umask(0o027) == 0o027
    finally:
        umask(before)
    assert {path.stat().st_mode & 0o777
            for path in (tmp_path / "new").iterdir()} == {0o640}


# copy, rename, remove

def test_copy_makes_the_folder_of_the_target(tree, tmp_path):
    mox.file.copy(src_url=str(tree / "a"), dst_url=str(tmp_path / "x" / "b"))
    assert (tmp_path / "x" / "b").read_bytes() == b"content"


def test_copy_into_a_folder_keeps_the_name(tree, tmp_path):
    mox.file.copy(str(tree / "a"), str(tree / "empty"))
    assert names(tree / "empty") == ["a"]


def test_copy_refuses_a_folder(tree, tmp_path):
    with pytest.raises(UserError, match="copy_parallel"):
        mox.file.copy(str(tree), str(tmp_path / "new"))


def test_copy_of_nothing_is_an_error(tmp_path):
    with pytest.raises(mox.MoxFileNotExistsException):
        mox.file.copy(str(tmp_path / "no"), str(tmp_path / "new"))


def test_rename_moves_a_folder(tree, tmp_path):
    mox.file.rename(str(tree), str(tmp_path / "new"))
    assert names(tmp_path) == ["new"] and "one" in names(tmp_path / "new")


@pytest.mark.parametrize("recursive", [False, True])
def test_file_is_removed_either_way(tree, recursive):
    mox.file.remove(str(tree / "a"), recursive=recursive)
    assert names(tree) == ["empty", "one"]


@pytest.mark.parametrize("name", ["one", "one/", "a/"])
def test_remove_does_nothing_silently_as_documented(tree, name):
    mox.file.remove(str(tree) + "/" + name)
    assert names(tree) == ["a", "empty", "one"]


def test_folder_is_removed_recursively(tree):
    mox.file.remove(str(tree / "one"), recursive=True)
    assert names(tree) == ["a", "empty"]


def test_remove_of_nothing_is_an_error(tree):
    with pytest.raises(mox.MoxFileNotExistsException):
        mox.file.remove(str(tree / "no"))


# Questions

def test_exists_and_is_directory(tree):
    assert mox.file.exists(str(tree)) and mox.file.exists(str(tree / "a"))
    assert not mox.file.exists(str(tree / "no"))
    assert mox.file.is_directory(str(tree))
    assert not mox.file.is_directory(str(tree / "a"))


def test_stat_has_length_and_time(tree):
    os.utime(str(tree / "a"), ns=(0, 12 * 10 ** 9))
    found = mox.file.stat(str(tree / "a"))
    assert (found.length, found.mtime_nsec, found.is_directory) == (
        7, 12 * 10 ** 9, False)


def test_stat_of_nothing_is_an_error(tree):
    with pytest.raises(mox.MoxFileNotExistsException, match="no such file"):
        mox.file.stat(str(tree / "no"))


def test_size_of_a_folder_needs_recursive(tree):
    assert mox.file.get_size(str(tree / "a")) == 7
    assert mox.file.get_size(str(tree)) == 0
    assert mox.file.get_size(str(tree), recursive=True) == 19


def test_list_directory_has_relative_names(tree):
    assert mox.file.list_directory(str(tree)) == ["a", "empty", "one"]
    assert mox.file.list_directory(str(tree), recursive=True) == [
        "a", "empty", "one", "one/two", "one/two/b"]


def test_list_directory_can_leave_out_folders(tree):
    assert mox.file.list_directory(
        str(tree), recursive=True, skip_dir=True) == ["a", "one/two/b"]


def test_glob_has_absolute_names(tree):
    assert mox.file.glob(str(tree / "*e*")) == [
        str(tree / "empty"), str(tree / "one")]


def test_walk_is_oss(tree):
    assert list(mox.file.walk(str(tree))) == list(os.walk(str(tree)))


def test_scan_dir_has_entries(tree):
    found = {entry.name: (entry.is_dir(), entry.path)
             for entry in mox.file.scan_dir(str(tree))}
    assert found == {"a": (False, str(tree / "a")),
                     "empty": (True, str(tree / "empty")),
                     "one": (True, str(tree / "one"))}


# Folders and files

def test_make_dirs_may_be_repeated(tmp_path):
    for _ in range(2):
        mox.file.make_dirs(str(tmp_path / "a" / "b"))
    assert (tmp_path / "a" / "b").is_dir()


def test_mk_dir_wants_the_folder_above(tmp_path):
    with pytest.raises(OSError):
        mox.file.mk_dir(str(tmp_path / "a" / "b"))
    mox.file.mk_dir(str(tmp_path / "a"))
    assert (tmp_path / "a").is_dir()


def test_text_and_bytes_are_told_apart(tmp_path):
    path = str(tmp_path / "a")
    mox.file.write(path, "数据")
    assert mox.file.read(path) == "数据"
    assert mox.file.read(path, binary=True) == "数据".encode("utf-8")
    mox.file.write(path, b"\xff", binary=True)
    assert (tmp_path / "a").read_bytes() == b"\xff"


def test_append_makes_and_lengthens(tmp_path):
    path = str(tmp_path / "a")
    mox.file.append(path, "one")
    mox.file.append(path, " two")
    assert (tmp_path / "a").read_bytes() == b"one two"


def test_append_remote_lengthens_the_target(tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "b").write_bytes(b"2")
    mox.file.append_remote(str(tmp_path / "a"), str(tmp_path / "b"))
    assert (tmp_path / "b").read_bytes() == b"21"


def test_file_has_the_methods_of_one(tmp_path):
    with mox.file.File(str(tmp_path / "a"), "w+") as file:
        file.writelines(["one\n", "two\n"])
        assert file.size() == 8 and file.tell() == 8
        file.seek(0)
        assert file.readline() == "one\n" and file.readlines() == ["two\n"]
        assert file.readable() and file.writable() and file.seekable()


def test_file_yields_lines(tmp_path):
    (tmp_path / "a").write_bytes(b"1\n2\n")
    with mox.file.File(str(tmp_path / "a"), "rb") as file:
        assert list(file) == [b"1\n", b"2\n"]


def test_shift_says_what_to_do_instead():
    with pytest.raises(NotImplementedError, match="copy_parallel"):
        mox.file.shift("os", "mox")


@pytest.mark.parametrize("url", ["", "obs://", "s3:///key"])
def test_url_without_a_name_is_refused(url):
    with pytest.raises(UserError):
        moxing_places.place(url)


@pytest.mark.parametrize("url", [
    "obs:/b/k", "S3:/b/k", "obs:b", "s3a://b/k", "file:///b/k"])
def test_url_that_is_neither_path_nor_obs_is_refused(url):
    with pytest.raises(UserError, match="obs:// or s3://"):
        mox.file.exists(url)


@pytest.mark.parametrize("url", ["obs://b/a//c", "s3://b/a/c/", "OBS://b/a/c"])
def test_slashes_and_schemes_are_taken_as_they_come(url):
    where = moxing_places.place(url)
    assert (where.bucket, where.key, where.prefix) == ("b", "a/c", "a/c/")
