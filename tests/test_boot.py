"""boot_modelarts.py: its words, its signals, its exit status."""

import os
import shutil
import signal
import subprocess
import sys

import pytest
from support import ROOT

CHILD = """
import os, signal, sys, time
print("child", sys.argv[1:], flush=True)
mode = sys.argv[1]
if mode == "--wait":
    def end(*_):
        print("saved", flush=True)
        sys.exit(143)
    signal.signal(signal.SIGTERM, end)
    print("ready", flush=True)
    time.sleep(600)
if mode.startswith("--kill="):
    os.kill(os.getpid(), int(mode[7:]))
sys.exit(int(mode[7:] or 0))            # --exit=N
"""


@pytest.fixture
def start(tmp_path):
    """Starts the boot file over another trainer, in another folder."""
    code, work = tmp_path / "code", tmp_path / "work"
    code.mkdir()
    work.mkdir()
    shutil.copy(os.path.join(ROOT, "boot_modelarts.py"), str(code))
    os.symlink(os.path.join(ROOT, "nonlocal_tf"), str(code / "nonlocal_tf"))
    (code / "train_modelarts.py").write_text(CHILD)

    def start(*arguments, **variables):
        environment = dict(os.environ, **variables)
        environment.pop("PYTHONPATH", None)
        return subprocess.Popen(
            [sys.executable, str(code / "boot_modelarts.py")]
            + list(arguments), cwd=str(work), env=environment,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            universal_newlines=True)
    return start


@pytest.mark.parametrize("code", [0, 2, 143])
def test_it_ends_with_the_status_of_the_job(start, code):
    process = start("--exit={}".format(code))
    output, _ = process.communicate()
    assert process.returncode == code, output
    assert "boot: exit code {}".format(code) in output


def test_a_killed_job_is_no_success(start, tmp_path):
    process = start("--kill=9", "--data_url", "d", "--train_url",
                    str(tmp_path / "results"))
    output, _ = process.communicate()
    assert process.returncode == 137
    assert "killed by signal 9, SIGKILL: out of memory" in output


def test_a_sigterm_reaches_the_job(start):
    process = start("--wait")
    for line in process.stdout:
        if "ready" in line:
            break
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate()
    assert "saved" in output
    assert process.returncode == 143


def test_everything_is_passed_on_unchanged(start):
    arguments = ["--exit=0", "--data_url=s3://bucket/data/", "--num_gpus=1",
                 "--init_method=tcp://1.2.3.4:5", "--Other", "x y"]
    output, _ = start(*arguments).communicate()
    assert "child {}".format(arguments) in output


def test_it_says_where_it_is_before_the_job(start):
    output, _ = start(
        "--exit=0", "--data_url=obs://bucket/data/", RANK_ID="3",
        RANK_TABLE_FILE="/t.json",
        MA_JOB_DIR="/home/ma-user/modelarts").communicate()
    before = output.split("child")[0]
    assert "Python {}.{}".format(*sys.version_info[:2]) in before
    assert "boot: tensorflow " in before
    assert "data_url obs://bucket/data/, train_url not given" in before
    for line in ("RANK_ID=3", "RANK_TABLE_FILE=/t.json",
                 "MA_JOB_DIR=/home/ma-user/modelarts"):
        assert "env: {}\n".format(line) in before


def test_no_credential_is_printed(start):
    """Nor a variable that nobody has listed, whatever its name is."""
    secrets = {
        "SECRET_ACCESS_KEY": "verysecretvalue1", "MY_PAT": "hunter1",
        "DSN": "hunter2", "MA_SOMETHING": "hunter3"}
    output, _ = start(
        "--exit=0", "--data_url=obs://verysecretvalue1@bucket/x",
        "--mirror=http://user:private@host/", "--token", "hunter4",
        "--init=obs:/AK:hunter5@bucket/x", "--video_root=s3://AK:a/hunter6@b/x",
        S3_ENDPOINT="http://me:pwpwpw@verysecretvalue1/",
        **secrets).communicate()
    words = output.split("child")[0]
    for word in ("secretvalue", "hunter", "private", "pwpwpw", "DSN", "_PAT"):
        assert word not in words
    assert "env: S3_ENDPOINT=http://***@" in words


def test_help_has_nothing_of_the_environment(start):
    output, _ = start("--help", RANK_ID="3").communicate()
    assert output.startswith("child ['--help']")
