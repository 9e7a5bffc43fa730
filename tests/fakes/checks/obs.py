"""Is the fake of moxing strict? No TensorFlow here."""

import contextlib
import io
import logging
import os
import tempfile

import harness

FOLDER = tempfile.mkdtemp(dir=os.getcwd())
os.makedirs(os.path.join(FOLDER, "obs", "bucket"))
os.environ["FAKE_OBS_ROOT"] = os.path.join(FOLDER, "obs")
HERE = "obs://bucket/"
printed = io.StringIO()
with contextlib.redirect_stdout(printed):
    import moxing as mox
from moxing.framework.file.errors import (  # noqa: E402
    MoxFakeError,
    MoxFileNotExistsException,
    MoxFileReadException,
    MoxFileRespException,
)


def local(*parts):
    return os.path.join(FOLDER, *parts)


def check_the_import_prints_unless_silenced():
    assert ("INFO:root:Using MoXing-v" in printed.getvalue()) == (
        os.environ.get("MOX_SILENT_MODE") != "1")


def check_unknown_names_and_keywords_raise():
    for name in ("rmove", "copytree", "shift"):
        with harness.raises(AttributeError, name):
            getattr(mox.file, name)
    with harness.raises(AttributeError, "framwork"):
        mox.framwork  # noqa: B018
    with harness.raises(TypeError, "overwrite"):
        mox.file.copy("a", "b", overwrite=True)


def check_urls_are_strict():
    for url in ("gs://bucket/x", "obs:/bucket/x", "obs://bucket//x",
                "obs://bucket/a/../x", ""):
        with harness.raises(MoxFakeError, ""):
            mox.file.exists(url)
    with harness.raises(MoxFileRespException, "no bucket"):
        mox.file.exists("obs://missing/x")
    with harness.environment(FAKE_OBS_ROOT=None):
        with harness.raises(MoxFakeError, "FAKE_OBS_ROOT"):
            mox.file.exists(HERE)


def check_both_schemes_are_one_store():
    mox.file.write(HERE + "one/text", "words")
    assert mox.file.read("s3://bucket/one/text") == "words"
    assert mox.file.read("s3://bucket/one/text", binary=True) == b"words"
    assert mox.file.stat(HERE + "one/text").length == 5
    with harness.raises(MoxFileReadException, "none"):
        mox.file.read(HERE + "none")


def check_a_folder_is_there_while_something_is_in_it():
    mox.file.write(HERE + "two/deep/text", "words")
    assert mox.file.is_directory(HERE + "two")
    assert mox.file.list_directory(HERE + "two") == ["deep"]
    assert mox.file.list_directory(HERE + "two", recursive=True) == [
        "deep", "deep/text"]
    mox.file.remove(HERE + "two/deep")          # does nothing: 5.2
    assert mox.file.exists(HERE + "two/deep/text")
    mox.file.remove(HERE + "two/deep/text")
    assert not mox.file.exists(HERE + "two")
    mox.file.make_dirs(HERE + "two")
    assert mox.file.exists(HERE + "two/")
    assert mox.file.list_directory(HERE + "two") == []
    mox.file.remove(HERE + "two", recursive=True)
    assert not mox.file.exists(HERE + "two")


def check_copy_parallel_puts_the_contents_below_the_target():
    os.makedirs(local("in", "deep"))
    for name in ("a", "deep/b"):
        with open(local("in", name), "w") as file:
            file.write(name)
    mox.file.copy_parallel(src_url=local("in"), dst_url=HERE + "three/")
    assert mox.file.list_directory(HERE + "three", recursive=True) == [
        "a", "deep", "deep/b"]
    mox.file.copy_parallel(
        HERE + "three/", local("out"), file_list=["deep/b"], threads=0,
        is_processing=False)
    assert os.listdir(local("out")) == ["deep"]
    mox.file.copy_parallel(local("in", "a"), HERE + "three/c")
    assert mox.file.read(HERE + "three/c") == "a"
    with harness.raises(MoxFakeError, "folder"):
        mox.file.copy_parallel(local("in", "a"), HERE + "three")


def check_an_empty_source_is_only_a_line_in_the_log():
    stream = io.StringIO()
    logging.getLogger().addHandler(logging.StreamHandler(stream))
    mox.file.copy_parallel(HERE + "none", local("none"))
    assert "No files to copy" in stream.getvalue()
    assert not os.path.exists(local("none"))


def check_copy_is_for_one_file():
    with harness.raises(MoxFileNotExistsException, "none"):
        mox.file.copy(HERE + "none", local("x"))
    mox.file.write(HERE + "four/text", "words")
    with harness.raises(MoxFakeError, "single file"):
        mox.file.copy(HERE + "four", local("x"))
    with harness.raises(MoxFakeError, "folder"):
        mox.file.copy(HERE + "four/text", HERE + "five/")
