"""A job of ModelArts from end to end, off the cloud: make rehearse-modelarts.

Starts an S3 server on the loopback, puts handwritten digits into a bucket and
runs boot_modelarts.py as ModelArts does: from another folder, with its
environment variables, OBS URLs and arguments. After epoch 2 the job is killed
as by `kill -9` and its disk is lost; the second start goes on from the bucket.
Then a job of a thin, shallow network of clips, on lists and small videos in the
bucket.
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from obs_server import ObsServer

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

from video_sets import write_set  # noqa: E402

from nonlocal_tf.data import datasets  # noqa: E402

BUCKET, DATA, OUTPUT = "rehearsal", "digits/", "output/V0001/"
VIDEOS, CLIPS = "videos/", "output/V0002/"
EPOCHS, KILLED_AFTER = 5, 2
LEAST_ACCURACY = 0.95           # of a thin, shallow network


def say(text):
    print("\n==== " + text, flush=True)


def environment(server, home):
    """The variables of a job of the new style, and the keys to the bucket."""
    return dict(
        server.environment(), PATH=os.environ["PATH"], HOME=home,
        PYTHONPATH="", TF_CPP_MIN_LOG_LEVEL="2", MA_HOME=home,
        MA_JOB_DIR=home + "/modelarts/user-job-dir", MA_NUM_GPUS="1",
        MA_MOUNT_PATH=home + "/modelarts", MA_NUM_HOSTS="1",
        MA_TASK_NAME="worker", VC_TASK_INDEX="0", VC_WORKER_NUM="1",
        VC_WORKER_HOSTS="127.0.0.1")


def digits(cache):
    """As in the log of a real job, and what makes it a job for two cores."""
    return [
        "--data_url=obs://{}/{}".format(BUCKET, DATA),
        "--train_url=obs://{}/{}".format(BUCKET, OUTPUT), "--num_gpus=1",
        "--platform=gpu", "--cache_dir=" + cache, "--dataset=digits",
        "--image_size=28", "--resnet_size=14", "--non_local=1",
        "--base_width=16", "--batchsize=32", "--Epoch={}".format(EPOCHS),
        "--learning_rate=2e-3", "--lr_schedule=cosine"]


def clips(cache):
    """The same for lists of videos."""
    return [
        "--network=tsm", "--data_url=obs://{}/{}train.txt".format(
            BUCKET, VIDEOS),
        "--test_url=obs://{}/{}test.txt".format(BUCKET, VIDEOS),
        "--train_url=obs://{}/{}".format(BUCKET, CLIPS), "--num_gpus=1",
        "--platform=gpu", "--cache_dir=" + cache, "--image_size=32",
        "--resnet_size=14", "--non_local=1", "--base_width=4", "--Epoch=2",
        "--batchsize=4", "--learning_rate=0.02"]


def run(server, home, arguments, kill_after=None):
    """Runs a job, showing its log; its exit status, and what it went on from.
    """
    code = os.path.join(home, "modelarts", "user-job-dir", "nonlocal_tf")
    process = subprocess.Popen(
        [sys.executable, os.path.join(code, "boot_modelarts.py")] + arguments,
        cwd=home, env=environment(server, home),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        universal_newlines=True, start_new_session=True)
    killing, begun = False, None
    for line in process.stdout:
        print("  | " + line.rstrip("\n"), flush=True)
        killing = killing or line.startswith(
            "Epoch: {}\t".format(kill_after))
        if "Going on from " in line:
            begun = line
        if killing and "Results are in" in line:
            os.killpg(process.pid, signal.SIGKILL)
            killing = False
    return process.wait(), begun


def put_data(server, home):
    """Both data sets in the bucket, as somebody uploaded them."""
    server.make_bucket(BUCKET)
    datasets.load("digits", os.path.join(home, "digits"))
    os.makedirs(os.path.join(home, "videos"))
    write_set(pathlib.Path(home, "videos"))
    for folder, prefix in (("digits", DATA), ("videos", VIDEOS)):
        for path in sorted(pathlib.Path(home, folder).iterdir()):
            server.put(BUCKET, prefix + path.name, path.read_bytes())


def show(server):
    """Prints what is in the bucket; returns the epochs' records."""
    for key in server.keys(BUCKET):
        print("  {:>11,}  obs://{}/{}".format(
            len(server.get(BUCKET, key)), BUCKET, key))
    lines = server.get(BUCKET, OUTPUT + "metrics.jsonl").decode("utf-8")
    return [record for record in map(json.loads, lines.splitlines())
            if record["kind"] == "epoch"]


def check(server, epochs):
    """What must hold at the end, by name."""
    keys = server.keys(BUCKET)
    own = [key[len(OUTPUT):] for key in keys if key.startswith(OUTPUT)]
    return {
        "every epoch once": [record["epoch"] for record in epochs]
        == list(range(1, EPOCHS + 1)),
        "newest three checkpoints": sum(
            key.endswith(".index") for key in own) == 3,
        "the frozen graph": "PB_Model/model.pb" in own,
        "a log of each start": sum(key[:4] == "log/" for key in own) == 2,
        "test accuracy": epochs[-1]["test_accuracy"] >= LEAST_ACCURACY,
        "the frozen graph of clips, and its note": {
            CLIPS + "PB_Model/model.pb" + end for end in ("", ".json")
        }.issubset(keys),
    }


def main():
    """Returns 0 if everything is as it must be."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as home, ObsServer() as server:
        put_data(server, home)
        place = os.path.join(home, "modelarts", "user-job-dir")
        os.makedirs(place)
        os.symlink(ROOT, os.path.join(place, "nonlocal_tf"))
        cache = os.path.join(home, "cache")
        say("The first start; it is killed after epoch {}".format(
            KILLED_AFTER))
        killed, _ = run(server, home, digits(cache), KILLED_AFTER)
        say("exit status {}; its disk is lost".format(killed))
        shutil.rmtree(cache)
        say("The second start, with the same arguments")
        status, begun = run(server, home, digits(cache))
        say("exit status {}; a job of clips".format(status))
        second, _ = run(server, home, clips(cache))
        say("exit status {}; the bucket holds".format(second))
        epochs = show(server)
        results = dict(check(server, epochs), **{
            "the first was killed": killed == -signal.SIGKILL,
            "the second went on": begun is not None,
            "exit status 0": not status and not second})
    say("Test accuracy {:.2%} after epoch {}; {:.0f} s".format(
        epochs[-1]["test_accuracy"], epochs[-1]["epoch"],
        time.monotonic() - began))
    for name, is_so in results.items():
        print("  {:3} {}".format("ok" if is_so else "NOT", name))
    return 0 if all(results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
