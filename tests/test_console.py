"""The log of a job: what Python and C++ write, also of a process that dies."""

import subprocess
import sys

from support import ROOT

from nonlocal_tf.training import console
from nonlocal_tf.training.console import Log


def run(code, path):
    return subprocess.run(
        [sys.executable, "-c", code, str(path)], cwd=ROOT,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        universal_newlines=True)


def test_both_outputs_go_on_and_to_the_file(tmp_path):
    done = run("import os, sys\n"
               "from nonlocal_tf.training.console import Log\n"
               "with Log(sys.argv[1]) as log:\n"
               "    os.write(1, b'from Python\\n')\n"
               "    os.write(2, b'from C++\\n')\n"
               "    assert 'from C++' in log.text('from C++')\n"
               "print('after')", tmp_path / "log")
    assert (done.stdout, done.stderr) == ("from Python\nafter\n",
                                          "from C++\n")
    assert sorted((tmp_path / "log").read_text().split("\n")) == [
        "", "from C++", "from Python"]


def test_it_does_not_wait_for_ever_for_a_line(tmp_path, monkeypatch):
    monkeypatch.setattr(console, "_SECONDS", 0.5)
    with Log(str(tmp_path / "log")) as log:
        assert "never written" not in log.text("never written")


def test_its_text_is_empty_before_tee_has_begun(tmp_path, monkeypatch):
    monkeypatch.setattr(Log, "_tee", lambda *_: subprocess.Popen("true"))
    with Log(str(tmp_path / "log")) as log:
        assert log.text() == ""


def test_the_last_words_of_an_abort_are_in_the_file(tmp_path):
    done = run("import os, sys\n"
               "from nonlocal_tf.training.console import Log\n"
               "Log(sys.argv[1]).__enter__()\n"
               "os.write(2, b'F npu_attrs.cc: bad value\\n')\n"
               "os.abort()", tmp_path / "log")
    assert done.returncode == -6
    assert "bad value" in done.stderr
    assert "bad value" in (tmp_path / "log").read_text()


def test_a_reader_that_goes_leaves_the_file_whole(tmp_path):
    """As `| head -1`, of both outputs."""
    process = subprocess.Popen(
        [sys.executable, "-c", "import os, sys\n"
         "from nonlocal_tf.training.console import Log\n"
         "with Log(sys.argv[1]):\n"
         "    for number in range(200):\n"
         "        os.write(1 + number % 2, b'line %d\\n' % number)\n"
         "    sys.stdin.read()\n"
         "    os.write(1, b'last\\n')", str(tmp_path / "log")],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT)
    process.stdout.readline()
    process.stdout.close()
    process.stdin.close()
    assert process.wait() == 0
    assert sorted((tmp_path / "log").read_text().split("\n")) == sorted(
        ["line {}".format(number) for number in range(200)] + ["last", ""])


def test_a_traceback_is_in_the_file(tmp_path):
    done = run("import sys\n"
               "from nonlocal_tf.training.console import Log\n"
               "with Log(sys.argv[1]):\n    1 / 0", tmp_path / "log")
    assert done.stderr.count("ZeroDivisionError") == 1
    assert "ZeroDivisionError" in (tmp_path / "log").read_text()
