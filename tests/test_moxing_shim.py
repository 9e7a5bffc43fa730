"""moxing.file's names: they promise the same on this disk and in OBS."""

import threading

import pytest

from nonlocal_tf import moxing_shim as mox
from nonlocal_tf.errors import UserError

pytest_plugins = ["obs_fixtures"]


@pytest.fixture(params=["on disk", "in OBS"])
def place(request, tmp_path):
    """A folder's URL, without a slash at its end."""
    if request.param == "on disk":
        return str(tmp_path / "place")
    pytest.importorskip("moto.server", reason="needs moto[s3] and flask")
    pytest.importorskip("boto3", reason="needs boto3")
    return request.getfixturevalue("bucket").url + "/place"


@pytest.fixture
def tree(place):
    """A folder there, with a file, and a file two folders below."""
    mox.file.make_dirs(place)
    mox.file.write(place + "/tree/a", "content")
    mox.file.write(place + "/tree/one/two/b", "more content")
    return place + "/tree"


def names(folder):
    return mox.file.list_directory(str(folder), recursive=True)


def test_contents_land_directly_under_the_target_among_others(
        tree, place, tmp_path):
    """There and back."""
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "z").write_bytes(b"")
    mox.file.copy_parallel(
        src_url=tree + "/", dst_url=str(tmp_path / "new") + "/",
        file_list=None, threads=0, is_processing=False, use_queue=False)
    mox.file.copy_parallel(str(tmp_path / "new"), place + "/again")
    for folder in (tmp_path / "new", place + "/again"):
        assert names(folder) == ["a", "one", "one/two", "one/two/b", "z"]
    assert mox.file.read(place + "/again/one/two/b") == "more content"


def test_file_list_names_what_is_copied(tree, tmp_path):
    mox.file.copy_parallel(
        tree, str(tmp_path / "new"), file_list=["one/two/b"])
    assert names(tmp_path / "new") == ["one", "one/two", "one/two/b"]
    with pytest.raises(mox.MoxFileNotExistsException, match="tree/c"):
        mox.file.copy_parallel(tree, str(tmp_path / "new"), file_list=["c"])


def test_one_file_is_copied_to_the_name(tree, tmp_path):
    mox.file.copy_parallel(tree + "/a", str(tmp_path / "x" / "b"))
    assert (tmp_path / "x" / "b").read_bytes() == b"content"


def test_nothing_to_copy_is_a_warning(place, tmp_path, caplog):
    mox.file.copy_parallel(place + "/no", str(tmp_path / "new"))
    assert "No files to copy" in caplog.text


def test_files_are_copied_side_by_side(tree, tmp_path, monkeypatch):
    barrier = threading.Barrier(2)
    monkeypatch.setattr(mox, "_copy", lambda *_: barrier.wait(timeout=2))
    mox.file.copy_parallel(tree, str(tmp_path / "new"), threads=2)


def test_copy_into_a_folder_keeps_the_name(tree):
    mox.file.copy(tree + "/a", tree + "/one/")
    assert names(tree + "/one") == ["a", "two", "two/b"]
    with pytest.raises(UserError, match="copy_parallel"):
        mox.file.copy(tree + "/one/", tree + "/new")


@pytest.mark.parametrize("recursive", [False, True])
def test_file_is_removed_either_way(tree, recursive):
    mox.file.remove(tree + "/a", recursive=recursive)
    assert names(tree) == ["one", "one/two", "one/two/b"]


@pytest.mark.parametrize("name", ["one", "one/"])
def test_folder_is_removed_recursively_alone(tree, name):
    mox.file.write(tree + "/oneself", "")
    mox.file.remove(tree + "/" + name)
    assert len(names(tree)) == 5
    mox.file.remove(tree + "/" + name, recursive=True)
    assert names(tree) == ["a", "oneself"]


@pytest.mark.parametrize("action", [mox.file.remove, mox.file.stat,
                                    mox.file.list_directory, mox.file.read])
def test_nothing_there_is_an_error(tree, action):
    with pytest.raises(mox.MoxFileNotExistsException, match="no such"):
        action(tree + "/no")


def test_exists_is_directory_and_stat(tree):
    found = mox.file.stat(tree + "/a")
    assert (found.length, found.is_directory) == (7, False)
    assert 10 ** 18 < found.mtime_nsec < 10 ** 19
    assert mox.file.stat(tree).is_directory
    assert mox.file.exists(tree) and not mox.file.exists(tree + "/z")
    assert mox.file.is_directory(tree)
    assert not mox.file.is_directory(tree + "/a")


def test_list_directory_has_relative_names(tree):
    assert mox.file.list_directory(tree + "/") == ["a", "one"]
    assert mox.file.list_directory(tree, recursive=True) == [
        "a", "one", "one/two", "one/two/b"]


def test_made_folders_hold_text_and_bytes(place):
    for _ in range(2):
        mox.file.make_dirs(place + "/a/b")
    assert mox.file.list_directory(place + "/a") == ["b"]
    path = place + "/a/b/c"
    mox.file.write(path, "数据")
    assert mox.file.read(path) == "数据"
    mox.file.write(path, b"1\n\xff", binary=True)
    assert mox.file.read(path, binary=True) == b"1\n\xff"
    with mox.file.File(path, "rb") as file:
        assert file.readline() == b"1\n" and list(file) == [b"\xff"]


def test_exception_while_writing_leaves_the_file(tree):
    with pytest.raises(KeyError):
        with mox.file.File(tree + "/a", "w") as file:
            file.write("ha")
            raise KeyError("half way")
    assert mox.file.read(tree + "/a") == "content"


def test_shift_says_what_to_do_instead():
    with pytest.raises(NotImplementedError, match="copy_parallel"):
        mox.file.shift("os", "mox")


@pytest.mark.parametrize("url", [
    "", "obs://", "s3:///key", "obs://key@bucket/x", "obs:/b/k", "S3:/b/k",
    "s3a://b/k", "file:///b/k"])
def test_url_that_is_neither_path_nor_obs_is_refused(url):
    with pytest.raises(UserError, match="obs://"):
        mox.file.exists(url)
