"""--num_gpus and TF_CONFIG with real processes: faults, and shared work."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf
from support import ROOT, THIN, records, write_tiny_set

from nonlocal_tf import storage
from nonlocal_tf.platforms import cluster, peers
from nonlocal_tf.training.config import TrainConfig
from nonlocal_tf.weights import checkpoints

pytestmark = pytest.mark.slow           # processes, seconds to start each
PROBE = os.path.join(ROOT, "tests", "many_probe.py")
THIN = THIN + ["--non_local", "res4:0"]
LONG = ["--Epoch", "100000", "--checkpoint_seconds", "1"]
# What a command may take to end, on a machine with much else to do.
PATIENCE = 200
HANGS = (100, 15, 25)                   # see `many_probe`
STARTED = []


def start(folder, flags, environ=None, command="train", seconds=(100, 30, 60),
          before=(), stderr=subprocess.STDOUT):
    """A command, which prints into folder/log."""
    environ = dict(
        {name: value for name, value in os.environ.items()
         if name != "TF_CONFIG"}, PYTHONPATH=ROOT, CUDA_VISIBLE_DEVICES="-1",
        **(environ or {}))
    with open(str(folder / "log"), "ab") as log:
        STARTED.append(subprocess.Popen(
            list(before) + [sys.executable, "-u", "-W", "ignore", PROBE,
                            command] + list(map(str, seconds)) + list(flags),
            cwd=str(folder), stdout=log, stderr=stderr,
            env=environ))
    return STARTED[-1]


@pytest.fixture(autouse=True)
def none_left():
    """Without their parent, ranks leave by themselves."""
    yield
    while STARTED:
        process = STARTED.pop()
        process.kill()
        process.wait()


def said(folder):
    with open(str(folder / "log"), errors="replace") as file:
        return file.read()


def errors(folder):
    return [line for line in said(folder).split("\n") if ": error: " in line]


def wait_until(reached, process, folder):
    end = time.monotonic() + PATIENCE
    while not reached():
        assert process.poll() is None and time.monotonic() < end, said(folder)
        time.sleep(0.2)


def children(process):
    """Process ids of the ranks, in order."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            with open("/proc/{}/stat".format(name)) as file:
                parent = file.read().rpartition(")")[2].split()[1]
            with open("/proc/{}/cmdline".format(name)) as file:
                if parent == str(process.pid) and "spawn_main" in file.read():
                    found.append(int(name))
    return sorted(found)


def training(folder, data, **settings):
    """A run of two that has a checkpoint and would go on for long; its ranks.
    """
    process = start(folder, THIN + [
        "--data_url", data, "--train_url", "out", "--num_gpus", "2"] + LONG,
        **settings)
    wait_until((folder / "out" / "Model" / "checkpoint").exists, process,
               folder)
    ranks = children(process)
    assert len(ranks) == 2
    return process, ranks


def gone(pid):
    """Whether a process has ended, or is one that nobody has waited for."""
    try:
        with open("/proc/{}/stat".format(pid)) as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def goes_on(folder, data):
    """The same command goes on from the newest checkpoint, and ends well."""
    (folder / "log").write_text("")
    newest = max(int(re.search(r"-(\d+)\.index", name).group(1))
                 for name in os.listdir(str(folder / "out" / "Model"))
                 if name.endswith(".index"))
    process = start(folder, THIN + [
        "--data_url", data, "--train_url", "out", "--num_gpus", "2",
        "--max_steps", str(newest + 3)] + LONG)
    assert process.wait(PATIENCE) == 0, said(folder)
    assert "Going on from out/Model/model.ckpt-{},".format(newest) in (
        said(folder))


@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_rank_is_named_by_the_parent_and_the_other(
        tiny_set, tmp_path, rank):
    process, ranks = training(tmp_path, tiny_set)
    os.kill(ranks[rank], signal.SIGKILL)
    assert process.wait(PATIENCE) == 128 + 9
    first, second = errors(tmp_path)
    assert "Rank {} was ended by SIGKILL".format(rank) in first
    assert re.search(r"Rank {} at 127\.0\.0\.1:\d+ has ended\.".format(rank),
                     second)
    assert all(map(gone, ranks))
    if rank:
        goes_on(tmp_path, tiny_set)


def test_a_rank_that_hangs_is_named_and_killed(tiny_set, tmp_path):
    process, ranks = training(tmp_path, tiny_set, seconds=HANGS)
    os.kill(ranks[1], signal.SIGSTOP)
    assert process.wait(PATIENCE) == 2
    first, second = errors(tmp_path)
    assert re.search(
        r"Rank 1 at \S+ has not answered for more than 15 s: it hangs", first)
    assert "What still ran 25 s after that is killed" in second
    assert all(map(gone, ranks))


@pytest.mark.parametrize("is_heard", [True, False])
def test_without_their_parent_the_ranks_save_and_leave(
        tiny_set, tmp_path, is_heard):
    """Also where its terminal went with it: nobody reads standard error."""
    reader, writer = os.pipe()
    process, ranks = training(tmp_path, tiny_set, stderr=(
        subprocess.STDOUT if is_heard else writer))
    os.close(reader)
    os.close(writer)
    process.kill()
    process.wait()
    end = time.monotonic() + PATIENCE
    while not all(map(gone, ranks)) and time.monotonic() < end:
        time.sleep(0.2)
    assert all(map(gone, ranks))
    assert said(tmp_path).count(
        "The process that started this one is") == is_heard
    step = re.search(r"Stopped by a signal after step (\d+) of",
                     said(tmp_path)).group(1)
    assert (tmp_path / "out" / "Model" / "model.ckpt-{}.index".format(
        step)).exists()


@pytest.mark.parametrize("number, code", [
    (signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_to_the_parent_is_one_to_all(
        tiny_set, tmp_path, number, code):
    process, ranks = training(tmp_path, tiny_set)
    process.send_signal(number)
    assert process.wait(PATIENCE) == code
    assert not errors(tmp_path)
    assert "Stopped by a signal after step" in said(tmp_path)
    assert all(map(gone, ranks))


def test_what_is_wrong_in_all_ranks_is_said_once(tiny_set, tmp_path):
    process = start(tmp_path, THIN + [
        "--data_url", tiny_set, "--batchsize", "36", "--num_gpus", "2"])
    assert process.wait(PATIENCE) == 2
    line, = errors(tmp_path)
    assert "--batchsize must be 1 to 35" in line and "2 processes" in line


def by_tf_config(folder, data, more, **settings):
    """Both processes as two hosts would start them, each with its flags."""
    places = settings.pop("places", None) or cluster.several(
        cluster.Cluster(), 2)
    folders = [folder / "host{}".format(place.rank) for place in places]
    for each in folders:
        each.mkdir(exist_ok=True)
    return folders, [start(own, THIN + [
        "--data_url", data, "--train_url", "out", "--Epoch", "1"]
        + list(flags), place.environment(), **settings)
        for own, place, flags in zip(folders, places, more)]


def test_ranks_of_other_settings_are_told_which(tiny_set, tmp_path):
    """Each the other, also where one has waited for long."""
    places = cluster.several(cluster.Cluster(), 2)
    (first,), waiting = by_tf_config(
        tmp_path, tiny_set, [[]], places=places[:1])
    wait_until(lambda: "Waiting for Rank 1 at" in said(first), *waiting, first)
    (second,), late = by_tf_config(
        tmp_path, tiny_set, [["--seed", "3"]], places=places[1:])
    folders, processes = [first, second], waiting + late
    assert [each.wait(PATIENCE) for each in processes] == [2, 2]
    for folder in folders:
        line, = errors(folder)
        assert re.search(r"Rank \d at \S+ was started with seed \d \(here "
                         r"\d\)\. Start all processes of a run alike", line)


def test_a_rank_0_that_cannot_begin_is_named(tiny_set, tmp_path):
    """Although its server is there for the fraction of a second."""
    places = cluster.several(cluster.Cluster(), 2)
    (second,), waiting = by_tf_config(
        tmp_path, tiny_set, [[]], places=places[1:])
    wait_until(lambda: not peers._is_closed(places[1].addresses[1]), *waiting,
               second)
    (tmp_path / "host0" / "out").mkdir(parents=True)
    with storage.only_run_in(str(tmp_path / "host0" / "out")):
        (first,), late = by_tf_config(
            tmp_path, tiny_set, [[]], places=places[:1])
        assert [each.wait(PATIENCE) for each in late + waiting] == [2, 2]
    assert "Another run is writing to" in errors(first)[0]
    line, = errors(second)
    assert re.search(r"Rank 0 at \S+ has ended", line)


def test_a_rank_with_other_data_does_not_train(tiny_set, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    write_tiny_set(other, train=71)
    folders, processes = by_tf_config(
        tmp_path, tiny_set, [[], ["--data_url", str(other)]])
    assert [each.wait(PATIENCE) for each in processes] == [2, 2]
    assert "Rank 1 must have the training data of rank 0" in (
        errors(folders[1])[0])
    assert "Rank 1 at" in errors(folders[0])[0]


def test_a_rank_that_is_started_anew_alone_ends_the_run(tiny_set, tmp_path):
    """It would wait for the start of the other, which is in a step.

    The other is stopped meanwhile, and so meets a new server in its sum.
    """
    places = cluster.several(cluster.Cluster(), 2)
    folders, processes = by_tf_config(
        tmp_path, tiny_set, [LONG, LONG], places=places)
    wait_until((folders[0] / "out" / "Model" / "checkpoint").exists,
               processes[0], folders[0])
    processes[0].send_signal(signal.SIGSTOP)
    processes[1].kill()
    processes[1].wait()
    _, (again,) = by_tf_config(tmp_path, tiny_set, [LONG], places=places[1:])
    wait_until(lambda: not peers._is_closed(places[1].addresses[1]), again,
               folders[1])
    processes[0].send_signal(signal.SIGCONT)
    assert processes[0].wait(PATIENCE) == again.wait(PATIENCE) == 2
    assert re.search(r"Rank 1 at \S+ (was started anew|has ended)",
                     errors(folders[0])[0])


def test_a_rank_that_never_comes_is_named(tiny_set, tmp_path):
    places = cluster.several(cluster.Cluster(), 2)[:1]
    (folder,), (process,) = by_tf_config(
        tmp_path, tiny_set, [[]], places=places,
        seconds=(15, 30, 60))
    assert process.wait(PATIENCE) == 2
    assert "Waiting for Rank 1 at 127.0.0.1:" in said(folder)
    line, = errors(folder)
    assert "must answer within 15 s of the start; it does not" in line


def test_a_port_that_is_taken_is_one_line(tiny_set, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        address = "127.0.0.1:{}".format(taken.getsockname()[1])
        (folder,), (process,) = by_tf_config(
            tmp_path, tiny_set, [[]], places=[
                cluster.Cluster((address, "127.0.0.1:9"), 0)])
        assert process.wait(PATIENCE) == 2
    line, = errors(folder)
    assert "Rank 0 must have the port of " + address in line
    assert not (folder / "out").exists()


def test_synchronised_norms_make_two_ranks_the_same_as_one(
        tiny_set, tmp_path):
    """Losses of 4 steps, of which one process does the last two.

    The moments are sums in another order; by the last digits of those, and
    what ReLUs make of them, losses differ by about 1e-5.
    """
    flags = THIN + ["--batchsize", "16", "--data_url", tiny_set, "--Epoch", "1",
                         "--image_size", "56", "--log_steps", "1",
                         "--optimizer", "sgd", "--learning_rate", "1e-3"]
    two = flags + ["--train_url", "two"]
    for more in (["--num_gpus", "2", "--batchsize", "8", "--max_steps", "2",
                  "--sync_batch_norm"], ["--max_steps", "4"]):
        assert start(tmp_path, two + more).wait(PATIENCE) == 0, said(tmp_path)
    one = start(tmp_path, flags + ["--train_url", "one"])
    assert one.wait(PATIENCE) == 0, said(tmp_path)
    losses = [[record["train_loss"] for record in records(
        tmp_path / name, "step")] for name in ("one", "two")]
    assert len(losses[0]) == 4
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    readers = [tf.compat.v1.train.load_checkpoint(
        str(tmp_path / name / "Model" / "model.ckpt-4"))
        for name in ("one", "two")]
    for name in readers[0].get_variable_to_shape_map():
        if "moving" in name:            # n / (n - 1) of one rank: 1.6 % off
            one, two = [each.get_tensor(name) for each in readers]
            assert np.linalg.norm(one - two) <= (
                5e-3 * np.linalg.norm(one) + 1e-5), name


@pytest.mark.skipif(tf.__version__ < "2", reason="TensorFlow 1.15's "
                    "collectives have no bfloat16")
def test_gradients_travel_as_bfloat16(tiny_set, tmp_path):
    """Of one step of SGD: within 2^-8 of float32's, and not the same."""
    weights = []
    for precision in ("float32", "bfloat16"):
        process = start(tmp_path, THIN + [
            "--data_url", tiny_set, "--train_url", precision, "--max_steps",
            "1", "--optimizer", "sgd", "--learning_rate", "1", "--num_gpus",
            "2", "--gradient_precision", precision])
        assert process.wait(PATIENCE) == 0, said(tmp_path)
        weights.append(tf.compat.v1.train.load_checkpoint(str(
            tmp_path / precision / "Model" / "model.ckpt-1")))
    name = "resnet/dense/kernel/Momentum"       # the gradient itself
    exact, rounded = [each.get_tensor(name) for each in weights]
    assert not np.array_equal(exact, rounded)
    assert np.abs(rounded - exact).max() <= 2 ** -7 * np.abs(exact).max()


@pytest.mark.skipif(tf.__version__ >= "2", reason="of TensorFlow 1.15")
def test_bfloat16_on_the_wire_is_refused_where_it_cannot_be(
        tiny_set, tmp_path):
    process = start(tmp_path, THIN + [
        "--data_url", tiny_set, "--gradient_precision", "bfloat16"])
    assert process.wait(PATIENCE) == 2
    line, = errors(tmp_path)
    assert "--gradient_precision must be float32 on TensorFlow 1.15" in line


@pytest.fixture
def cut_network(tmp_path):
    """Two network namespaces with a link between them; its name in one."""
    names = ["nltf{}{}".format(os.getpid() % 10000, side) for side in "ab"]
    links = [name + "l" for name in names]
    steps = [["netns", "add", names[0]], ["netns", "add", names[1]],
             ["link", "add", links[0], "netns", names[0], "type", "veth",
              "peer", "name", links[1], "netns", names[1]]]
    for number, (name, link) in enumerate(zip(names, links), 1):
        steps += [
            ["-n", name, "addr", "add", "10.99.0.{}/24".format(number), "dev",
             link],
            ["-n", name, "link", "set", link, "up"],
            ["-n", name, "link", "set", "lo", "up"]]
    try:
        for step in steps:
            done = subprocess.run(
                ["ip"] + step, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, universal_newlines=True)
            if done.returncode:
                pytest.skip("no network namespaces: " + done.stdout.strip())
        yield names, links
    except FileNotFoundError:
        pytest.skip("there is no ip command")
    finally:
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                subprocess.run(["ip", "netns", "del", name],
                               stderr=subprocess.DEVNULL)


def test_a_cut_link_ends_both_hosts(tiny_set, tmp_path, cut_network):
    names, links = cut_network
    addresses = ("10.99.0.1:4000", "10.99.0.2:4000")
    folders, processes = [], []
    for rank, name in enumerate(names):
        own = by_tf_config(
            tmp_path, tiny_set, [LONG],
            places=[cluster.Cluster(addresses, rank)],
            before=["ip", "netns", "exec", name], seconds=HANGS)
        folders += own[0]
        processes += own[1]
    wait_until((folders[0] / "out" / "Model" / "checkpoint").exists,
               processes[0], folders[0])
    assert subprocess.call(
        ["ip", "-n", names[0], "link", "set", links[0], "down"]) == 0
    assert [each.wait(PATIENCE) for each in processes] == [2, 2]
    for rank, folder in enumerate(folders):
        line, = errors(folder)
        assert ("Rank {} at 10.99.0.{}:4000 has not answered for more than "
                "15 s: it hangs").format(1 - rank, 2 - rank) in line


def test_evaluate_answers_each_video_once(tmp_path):
    """As one process does; what others had answered is not done again."""
    pytest.importorskip("cv2")
    from video_sets import write_set
    _, listed = write_set(tmp_path, train=0)
    checkpoints.write(TrainConfig(
        network="tsm", resnet_size=14, base_width=2, image_size=32, classes=2,
        frames=2, non_local="0", train_url=str(tmp_path / "run")), {}, {})
    flags = ["--train_url", "run", "--data_url", listed, "--output"]
    assert start(tmp_path, flags + ["one"], command="evaluate").wait(
        PATIENCE) == 0, said(tmp_path)
    one = [json.loads(line) for line in (
        tmp_path / "one" / "videos.jsonl").read_text().splitlines()]
    assert [record["number"] for record in one] == list(range(6))
    two = tmp_path / "two"
    two.mkdir()
    (two / "settings.json").write_text(
        (tmp_path / "one" / "settings.json").read_text())
    one[0]["frames"], one[4]["frames"] = 77, 99
    (two / "videos.jsonl").write_text(json.dumps(one[0]) + "\n")
    (two / "videos-rank3.jsonl").write_text(json.dumps(one[4]) + "\n")
    (tmp_path / "log").write_text("")
    assert start(tmp_path, flags + ["two", "--num_gpus", "2"],
                 command="evaluate").wait(PATIENCE) == 0, said(tmp_path)
    assert "6 videos, 2 done" in said(tmp_path)
    assert said(tmp_path).count("mean of the classes") == 1
    found = [json.loads(line) for line in (
        two / "videos.jsonl").read_text().splitlines()]
    for ours, theirs in zip(found, one):        # of another number of threads
        for best, other in zip(ours.pop("top"), theirs.pop("top")):
            assert best == pytest.approx(other, abs=1e-5)
    assert found == one
    assert not (two / "videos-rank3.jsonl").exists()
    summaries = [json.loads((tmp_path / name / "summary.json").read_text())
                 for name in ("one", "two")]
    assert summaries[0] == summaries[1]
