"""A job from OBS to OBS, and what is left of it when something fails.

Against a real S3 server on the loopback, whose faults are its own; see also
test_npu.py for the fakes of Ascend's adapter.
"""

import fcntl
import os
import shutil
import signal
import subprocess
import sys

import ascend
import pytest
from support import ROOT, SGD, THIN, blocks, checkpoint_bytes, thin_config
from video_sets import write_set

pytest.importorskip("moto", reason="no S3 server to test with: moto")
pytest.importorskip("boto3", reason="boto3 is missing")

from nonlocal_tf import command  # noqa: E402
from nonlocal_tf.cloud import client  # noqa: E402
from nonlocal_tf.errors import UserError  # noqa: E402
from nonlocal_tf.training import mirror  # noqa: E402
from nonlocal_tf.training.command import push  # noqa: E402
from nonlocal_tf.training.config import TrainConfig  # noqa: E402
from nonlocal_tf.training.job import Job  # noqa: E402

pytest_plugins = ["obs_fixtures"]
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("shallow")]


def to_descriptors(monkeypatch):
    """Output goes where a job's log reads it; pytest's goes elsewhere."""
    for number, output in ((1, "stdout"), (2, "stderr")):
        monkeypatch.setattr(sys, output, open(
            number, "w", buffering=1, closefd=False))


@pytest.fixture
def job(bucket, tiny_set, tmp_path, monkeypatch):
    """Runs a thin job on the bucket; a `cache` is one machine's disk."""
    for name in os.listdir(tiny_set):
        with open(os.path.join(tiny_set, name), "rb") as file:
            bucket.put("data/" + name, file.read())

    def run(cache="cache", data_url=None, train_url=None, **settings):
        to_descriptors(monkeypatch)
        config = thin_config(
            data_url or bucket.url + "/data/",
            train_url or bucket.url + "/run", cache_dir=str(tmp_path / cache),
            **settings)
        return Job(config, "train_modelarts.py").run()
    return run


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """For `half`: a folder, and objects by name."""
    return tmp_path_factory.mktemp("shelf") / "here", {}


@pytest.fixture
def half(job, bucket, shelf, tmp_path):
    """As `job(cache, max_steps=8)`, which the first test alone runs."""
    folder, objects = shelf

    def put_back(cache="cache"):
        here = mirror.copy_folder(
            str(tmp_path / cache), "train_url", bucket.url + "/run")
        if objects:
            shutil.copytree(str(folder), here)
            for name, content in objects.items():
                bucket.put("run/" + name, content)
        else:
            assert job(cache, max_steps=8) == 0
            found = {name: bucket.get("run/" + name)
                     for name in results(bucket)}
            shutil.copytree(here, str(folder))
            objects.update(found)
    return put_back


def results(bucket):
    return sorted(key[4:] for key in bucket.keys() if key.startswith("run/"))


def local_results(tmp_path, cache="cache"):
    folder, = (tmp_path / cache / "train_url").iterdir()
    return folder


def logs(bucket):
    return [bucket.get("run/" + name).decode("utf-8")
            for name in results(bucket) if name.startswith("log/")]


def one_line(capfd, *words):
    """The one line of an error, with these words in it."""
    text = "".join(capfd.readouterr())
    lines = [line for line in text.split("\n") if ": error: " in line]
    assert len(lines) == 1, text
    for word in words:
        assert word in lines[0], lines[0]
    assert "Traceback" not in text
    return lines[0]


def test_everything_is_in_the_bucket_as_it_is_here(job, bucket, tmp_path):
    """An object and a folder of one name, which no disk holds, or not."""
    for key in "data/train-images-idx3-ubyte/thumbs", "data", "run":
        bucket.put(key, b"x")
    assert job(**SGD) == 0
    folder = local_results(tmp_path)
    names = results(bucket)
    for name in ("Model/model.ckpt-8.index", "Model/model.ckpt-16.index",
                 "Model/model.ckpt-16.data-00000-of-00001",
                 "Model/model.ckpt-16.json", "PB_Model/model.pb",
                 "metrics.jsonl", "config.json"):
        assert name in names
        assert bucket.get("run/" + name) == (folder / name).read_bytes()
    assert sum(name.startswith("events/") for name in names) == 1
    assert "Finished epoch 2" in logs(bucket)[0]


def test_another_machine_goes_on_as_if_nothing_had_been(
        job, half, bucket, unbroken, tmp_path):
    """Bit for bit the unbroken run's variables."""
    half("first")
    shutil.rmtree(str(tmp_path / "first"))
    assert job("second") == 0
    here = os.path.join(str(local_results(tmp_path, "second")), "Model")
    assert checkpoint_bytes(os.path.join(here, "model.ckpt-16")) == (
        checkpoint_bytes(unbroken[1].checkpoint))
    assert bucket.get("run/metrics.jsonl").count(b'"kind": "epoch"') == 2
    assert len(logs(bucket)) == 2


def test_a_checkpoint_that_both_ends_have_is_not_copied_again(
        job, half, bucket):
    half("first")
    data = "model.ckpt-8.data"
    before = sum(data in path for path in bucket.requests("PUT"))
    assert job("second") == 0
    assert sum(data in path for path in bucket.requests("PUT")) == before


def test_the_newest_three_checkpoints_stay(job, bucket):
    assert job(epoch=3, max_steps=24, **SGD) == 0
    assert job("second", epoch=5, **SGD) == 0
    assert [name for name in results(bucket) if name.endswith(".index")] == [
        "Model/model.ckpt-{}.index".format(step) for step in (24, 32, 40)]


def test_a_push_that_fails_is_made_up_for_by_the_next(
        job, bucket, monkeypatch, capfd):
    monkeypatch.setattr(client, "RETRIES", 1)
    bucket.fault("PUT", status=503, pattern="ckpt-8.data", times=2)
    assert job(**SGD) == 0
    assert "training goes on" in one_line(capfd, "503", "Results are safe in")
    assert "Model/model.ckpt-8.index" in results(bucket)


def test_a_job_whose_results_cannot_go_up_does_not_end_well(
        job, half, bucket, tmp_path, monkeypatch, capfd):
    """No checkpoint counts that is not whole, and the earlier one stays."""
    half()
    monkeypatch.setattr(client, "RETRIES", 1)
    capfd.readouterr()
    bucket.fault("PUT", status=503, pattern=bucket.name + ".*ckpt-16.data",
                 times=10 ** 6)
    assert job() == 2
    assert "503" in "".join(capfd.readouterr())
    assert [name for name in results(bucket) if name.endswith(".index")] == [
        "Model/model.ckpt-8.index"]
    assert (local_results(tmp_path) / "Model" / "model.ckpt-16.index").exists()


def test_what_was_pushed_and_removed_is_not_wanted_any_more(
        job, half, bucket, server, capfd):
    half()
    for name in results(bucket):
        server.request("DELETE", "/{}/run/{}".format(bucket.name, name))
    capfd.readouterr()
    assert job(max_steps=1) == 0
    said = capfd.readouterr().out
    assert "starting anew" in said and "Epoch: 1" in said


def test_resume_false_refuses_a_bucket_with_checkpoints(job, half, capfd):
    half()
    capfd.readouterr()
    assert job("second", resume=False) == 2
    one_line(capfd, "--resume=false needs a --train_url without checkpoints")


@pytest.mark.parametrize("change, word", [
    ({"OBS_ACCESS_KEY_ID": "wrongwrongwrong1"}, "does not know the access"),
    ({"OBS_SECRET_ACCESS_KEY": "wrongwrongwrong2"}, "secret key"),
    ({"OBS_SECRET_ACCESS_KEY": ""}, "OBS_SECRET_ACCESS_KEY"),
    ({"S3_ENDPOINT": ""}, "S3_ENDPOINT"),
    ({"S3_ENDPOINT": "127.0.0.1:9"}, "127.0.0.1:9"),
])
def test_keys_that_do_not_fit_are_one_line_before_any_work(
        job, server, use, capfd, monkeypatch, change, word):
    monkeypatch.setattr(client, "RETRIES", 1)
    monkeypatch.setattr(client, "FEW_RETRIES", 1)
    use(server, **change)
    assert job() == 2
    said = "".join(capfd.readouterr())
    assert word in said and "Epoch" not in said
    assert "Traceback" not in said
    for secret in (server.access_key, server.secret_key,
                   "wrongwrongwrong1", "wrongwrongwrong2"):
        assert secret not in said


@pytest.mark.parametrize("urls, words", [
    ({"train_url": "obs://no-such-bucket/run"}, ["no-such-bucket", "bucket"]),
    ({"data_url": "obs://no-such-bucket/data"}, ["no-such-bucket"]),
    ({"data_url": "BUCKET/elsewhere"}, [
        "must hold the IDX files", "it has nothing"]),
    ({"data_url": "BUCKET"}, ["must hold the IDX files", "it has data"]),
])
def test_places_that_are_not_there_are_one_line(
        job, bucket, capfd, urls, words):
    assert job(**{name: url.replace("BUCKET", bucket.url)
                  for name, url in urls.items()}) == 2
    said = "".join(capfd.readouterr())
    assert "Traceback" not in said and "Epoch" not in said
    for word in words:
        assert word in said


def test_data_that_changed_in_the_bucket_is_copied_again(job, bucket, capfd):
    assert job(max_steps=1, **SGD) == 0
    assert "Copying t10k" in capfd.readouterr().out
    assert job(max_steps=1, **SGD) == 0
    assert "Copying t10k" not in capfd.readouterr().out
    labels = bytearray(bucket.get("data/t10k-labels-idx1-ubyte"))
    labels[-1] = 7
    bucket.put("data/t10k-labels-idx1-ubyte", bytes(labels))
    assert job(max_steps=2, **SGD) == 2         # of other data
    assert "Copying t10k" in capfd.readouterr().out


def test_a_full_cache_is_one_line(job, bucket, tmp_path, capfd):
    (tmp_path / "small").mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=48k", "tmpfs",
         str(tmp_path / "small")], stderr=subprocess.DEVNULL
    ) if shutil.which("mount") else None
    if mounted is None or mounted.returncode:
        pytest.skip("a small disk can be mounted by root alone")
    try:
        assert job("small") == 2
        one_line(capfd, "--cache_dir", "No space left")
    finally:
        subprocess.run(["umount", str(tmp_path / "small")], check=True)


def test_a_start_that_could_not_fetch_changes_no_results(
        job, half, bucket, monkeypatch):
    """This machine's disk has an older state than the bucket."""
    half("A")
    assert job("B") == 0
    before = {name: bucket.get("run/" + name) for name in results(bucket)}
    monkeypatch.setattr(client, "RETRIES", 1)
    fault = bucket.fault("GET", status=503,
                         pattern=bucket.name + ".*ckpt-16.data", times=10 ** 6)
    assert job("A") == 2
    assert before == {name: bucket.get("run/" + name)
                      for name in results(bucket) if name in before}
    assert len(logs(bucket)) == 3
    fault.times = 0
    assert job("A", epoch=3) == 0
    assert bucket.get("run/metrics.jsonl").count(b'"kind": "epoch"') == 3


def test_a_fetch_that_was_cut_off_costs_no_history(
        job, half, bucket, monkeypatch):
    half("A")

    def end(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(mirror.Results, "_fetch_step", end)
        assert job("B") == 130
    assert job("B") == 0
    assert bucket.get("run/metrics.jsonl").count(b'"kind": "epoch"') == 2


def test_checkpoints_that_were_never_pushed_are_wanted(
        job, bucket, monkeypatch, capfd):
    assert job(batch_size=500) == 2             # its log is pushed
    monkeypatch.setattr(client, "RETRIES", 1)
    fault = bucket.fault("PUT", status=503, pattern=bucket.name + ".*ckpt",
                         times=10 ** 6)
    assert job(max_steps=8, **SGD) == 2
    fault.times = 0
    capfd.readouterr()
    assert job(**SGD) == 0
    assert "Going on from" in capfd.readouterr().out


def test_a_fetch_that_was_killed_leaves_nothing_to_push(
        job, half, bucket, tmp_path):
    half()
    partial = local_results(tmp_path) / ".fetch-x"
    partial.mkdir()
    (partial / "model.ckpt-9.index").write_text("x")
    assert job(max_steps=10) == 0
    assert not [name for name in results(bucket) if "ckpt-9" in name]


def test_a_sigterm_in_the_last_push_waits_for_it(job, bucket, monkeypatch):
    """As the group's and the boot file's: two signals for one end."""
    push_results, pushes = mirror.Results.push, []

    def interrupted(self):
        pushes.append(None)
        if len(pushes) == 2:                    # after the checkpoint's own
            os.kill(os.getpid(), signal.SIGTERM)
        return push_results(self)

    monkeypatch.setattr(mirror.Results, "push", interrupted)
    assert command.run("x", lambda: job(epoch=1, **SGD)) == 0
    assert "PB_Model/model.pb" in results(bucket)


def test_a_second_job_with_the_same_results_touches_nothing(
        job, half, bucket, tmp_path, capfd):
    half()
    before = bucket.keys()
    with open(str(local_results(tmp_path) / ".lock"), "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="Another run is writing"):
            job()
    assert bucket.keys() == before


def test_digits_need_nothing_in_the_bucket(job, bucket):
    pytest.importorskip("sklearn")
    assert job(data_url=bucket.url + "/nothing", dataset="digits",
               max_steps=1, **SGD) == 0


@pytest.mark.parametrize("name", ["RANK_SIZE", "VC_WORKER_NUM"])
def test_processes_without_addresses_are_refused(job, monkeypatch, name):
    monkeypatch.setenv(name, "2")
    with pytest.raises(UserError, match=name + " is 2, .*TF_CONFIG"):
        job()


def test_an_error_of_the_user_is_in_the_bucket_too(job, bucket):
    assert job(batch_size=500) == 2
    log, = logs(bucket)
    assert "--batchsize must be 1 to 70" in log


def test_a_crash_leaves_its_traceback_in_the_bucket(job, bucket, monkeypatch):
    from nonlocal_tf.training import loop

    def fail(*_):
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(loop._Run, "_end_epoch", fail)
    with pytest.raises(ZeroDivisionError):
        job(**SGD)
    log, = logs(bucket)
    assert "ZeroDivisionError: a defect" in log


def test_what_a_killed_job_left_here_can_be_pushed(
        half, bucket, tmp_path, server):
    """As boot_modelarts.py does when the trainer is gone."""
    half()
    server.request("DELETE", "/{}/run/Model/model.ckpt-8.index".format(
        bucket.name))
    assert push(["--data_url", bucket.url + "/data", "--train_url",
                 bucket.url + "/run", "--cache_dir", str(tmp_path / "cache"),
                 "--platform", "gpu"], "boot_modelarts.py") == 0
    assert "Model/model.ckpt-8.index" in results(bucket)


def test_the_page_s_check_of_an_account_runs(bucket):
    """With 11 objects; test_obs.py lists more than 1,000."""
    code, = blocks(os.path.join(ROOT, "docs", "modelarts.md"), "python")
    assert code.count("1001") == 2
    exec(code.replace("obs://your-bucket", bucket.url).replace(
        "1001", "11"), {})
    assert bucket.keys() == []
    assert len([path for path in bucket.requests("PUT")
                if "partNumber" in path]) == 3


def test_boot_modelarts_brings_an_npu_job_to_its_end_by_moxing(
        tiny_set, tmp_path):
    """The fakes of Ascend's adapter and of moxing; a restart goes on."""
    root = tmp_path / "obs"
    shutil.copytree(tiny_set, str(root / "bucket" / "mnist"))
    work = tmp_path / "work"
    work.mkdir()

    def start(*flags):
        return ascend.train("boot_modelarts.py", [
            "--data_url=s3://bucket/mnist/", "--num_gpus=1",
            "--train_url=s3://bucket/out/V0001/", "--cache_dir=cache",
            "--init_method=tcp://1.2.3.4:5", "--Epoch=2"] + list(flags), work,
            ascend.ADAPTER, ascend.CLOUD, FAKE_OBS_ROOT=str(root),
            RANK_ID="0", RANK_SIZE="1", ASCEND_DEVICE_ID="0", JOB_ID="1")

    first = start("--max_steps=8")
    assert first.returncode == 0, first.stdout
    shutil.rmtree(str(work / "cache"))
    second = start()
    assert second.returncode == 0, second.stdout
    assert "Going on from" in second.stdout
    assert "On the NPU: the adapter reported" in second.stdout
    out = root / "bucket" / "out" / "V0001"
    assert (out / "Model" / "model.ckpt-16.index").exists()
    assert (out / "PB_Model" / "model.pb").exists()
    assert len(list((out / "log").iterdir())) == 2


def test_a_new_style_job_has_local_folders(tiny_set, tmp_path):
    done = ascend.run(os.path.join(ROOT, "boot_modelarts.py"), [
        "--data_url", tiny_set + "/", "--train_url",
        str(tmp_path / "outputs" / "train_url_0") + "/", "--platform=gpu",
        "--max_steps=2"] + THIN, tmp_path)
    assert done.returncode == 0, done.stdout
    out = tmp_path / "outputs" / "train_url_0"
    assert sorted(path.name for path in out.iterdir() if path.is_dir()) == [
        "Model", "PB_Model", "events", "log"]
    assert TrainConfig().cache_dir == ""
    assert not (tmp_path / "cache").exists()


@pytest.fixture
def videos(bucket, tmp_path):
    """Two lists and, but for one, their videos in the bucket, and another."""
    pytest.importorskip("cv2")
    folder = tmp_path / "videos"
    folder.mkdir()
    lists = write_set(folder)
    for path in folder.iterdir():
        if path.name != "train 3.avi":
            kind = "lists/" if path.suffix == ".txt" else "videos/"
            bucket.put(kind + path.name, path.read_bytes())
    bucket.put("videos/another.avi", b"not in a list")
    return lists


@pytest.fixture
def video_job(bucket, tmp_path, monkeypatch):
    def run(**settings):
        to_descriptors(monkeypatch)
        return Job(TrainConfig(**dict(dict(
            network="tsm", data_url=bucket.url + "/lists/train.txt",
            test_url=bucket.url + "/lists/test.txt",
            video_root=bucket.url + "/videos", train_url=bucket.url + "/run",
            cache_dir=str(tmp_path / "cache"), image_size=32, base_width=4,
            resnet_size=14, non_local="res3:0", batch_size=4, epoch=1,
            learning_rate=0.02),
            **settings)), "train_modelarts.py").run()
    return run


def test_a_job_on_videos(bucket, videos, video_job, tmp_path, capfd):
    assert video_job() == 0
    names = results(bucket)
    assert "PB_Model/model.pb" in names and "Model/checkpoint" in names
    output = capfd.readouterr().out
    assert "Copying 22 of 22 videos" in output
    assert "1 of them are not there, such as train 3.avi" in output
    assert "of 6 test videos)" in output                # of the frozen file
    copied, = (tmp_path / "cache" / "videos").iterdir()
    assert len(list(copied.glob("*.avi"))) == 27        # another.avi is not
    assert video_job(epoch=2) == 0
    output = capfd.readouterr().out
    assert "Copying 1 of 22 videos" in output and "Going on from" in output


def test_videos_that_the_disk_cannot_take_are_not_begun(
        bucket, videos, video_job, tmp_path, monkeypatch, capfd):
    usage = shutil.disk_usage(str(tmp_path))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(
        free=1000))
    assert video_job() == 2
    one_line(capfd, "The disk of --cache_dir must take about",
             "has 1e-06 GB free")
    assert not list((tmp_path / "cache" / "videos").glob("*/*.avi"))


def test_a_job_begins_with_weights_of_the_bucket(
        bucket, videos, video_job, tmp_path, capfd):
    here = {"video_root": "", "data_url": videos[0], "test_url": videos[1]}
    assert video_job(**here) == 0
    assert video_job(train_url=str(tmp_path / "next"),
                     init=bucket.url + "/run", **here) == 0
    assert "0 skipped, 0 new" in capfd.readouterr().out


def test_a_restart_needs_no_first_weights_any_more(job, half, bucket, capfd):
    half()
    assert job("second", init=bucket.url + "/gone") == 0
    assert "Going on from" in capfd.readouterr().out
    assert job("third", train_url=bucket.url + "/new",
               init=bucket.url + "/gone") == 2
    one_line(capfd, "--init must be the folder of a run")


@pytest.mark.parametrize("name, text", [
    ("lists/none.txt", "it is not there"), ("lists", "it is a folder")])
def test_a_list_that_is_none(bucket, videos, video_job, capfd, name, text):
    assert video_job(data_url=bucket.url + "/" + name) == 2
    one_line(capfd, "must be a list of videos", text)
