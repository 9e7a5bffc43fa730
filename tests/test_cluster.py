"""TF_CONFIG, ModelArts' hosts, --num_gpus: which processes belong together."""

import json
import os
import re

import pytest
import tensorflow as tf

from nonlocal_tf.errors import UserError
from nonlocal_tf.platforms import cluster, peers
from nonlocal_tf.training.flags import parse_flags


def tf_config(jobs, kind="worker", index=0):
    return {"TF_CONFIG": json.dumps(
        {"cluster": jobs, "task": {"type": kind, "index": index}})}


TWO = {"worker": ["a:1", "b:2"]}


def test_a_process_without_the_variables_is_alone():
    assert cluster.settle({}) == cluster.Cluster((), 0)
    assert cluster.settle({}).size == 1
    assert cluster.settle({"TF_CONFIG": "{}"}).size == 1


def test_workers_rank_in_their_order():
    found = cluster.settle(tf_config(TWO, index=1))
    assert found == (("a:1", "b:2"), 1)
    assert found.size == 2


@pytest.mark.parametrize("kind, index, rank", [
    ("chief", 0, 0), ("worker", 0, 1), ("worker", 1, 2)])
def test_a_chief_is_rank_0_before_the_workers(kind, index, rank):
    jobs = {"worker": ["b:1", "c:1"], "chief": ["a:1"]}
    found = cluster.settle(tf_config(jobs, kind, index))
    assert found == (("a:1", "b:1", "c:1"), rank)


def test_what_a_process_is_told_is_what_it_reads():
    place = cluster.Cluster(("a:1", "[::1]:2", "c.d-e:65535"), 2)
    assert cluster.settle(place.environment()) == place


@pytest.mark.parametrize("environ, told", [
    ({"TF_CONFIG": "{"}, "TF_CONFIG must be as"),
    ({"TF_CONFIG": "[1]"}, "TF_CONFIG must be as"),
    ({"TF_CONFIG": '{"cluster": 5}'}, "TF_CONFIG must be as"),
    (tf_config(dict(TWO, ps=["c:1"])), "has ps"),
    (tf_config(dict(TWO, evaluator=["c:1"])), "has evaluator"),
    ({"TF_CONFIG": json.dumps({"cluster": TWO})}, "task is none None"),
    (tf_config(TWO, index=2), "task is worker 2, and its cluster has 2 "
                              "worker"),
    (tf_config(TWO, index=-1), "task is worker -1"),
    (tf_config(TWO, index="0"), "task is worker '0'"),
    (tf_config(TWO, index=True), "task is worker True"),
    (tf_config(TWO, kind="chief"), "task is chief 0"),
    (tf_config(TWO, kind=["worker"]), "task is ['worker'] 0"),
    (tf_config({"worker": ["a:1", "a:1"]}), "a:1 is there twice"),
    (tf_config({"worker": ["a", "b:1"]}), "host:port"),
    (tf_config({"worker": ["a:1", "b:0"]}), "'b:0'"),
    (tf_config({"worker": ["a:1", "b:65536"]}), "'b:65536'"),
    (tf_config({"worker": ["http://a:1", "b:1"]}), "'http://a:1'"),
    (tf_config({"worker": [1, 2]}), "host:port"),
    ({"VC_WORKER_NUM": "2"}, "VC_WORKER_HOSTS must name as many"),
    ({"VC_WORKER_NUM": "2", "VC_WORKER_HOSTS": "a,b", "VC_TASK_INDEX": "2"},
     "VC_TASK_INDEX be this one's"),
    ({"VC_WORKER_NUM": "3", "VC_WORKER_HOSTS": "a,b", "VC_TASK_INDEX": "0"},
     "VC_WORKER_NUM is 3"),
    ({"VC_WORKER_NUM": "2", "VC_WORKER_HOSTS": "a,b", "VC_TASK_INDEX": "0",
      "MA_TASK_NAME": "ps"}, "MA_TASK_NAME is ps, a parameter server"),
    ({"DLS_TASK_NUMBER": "2", "DLS_TASK_INDEX": "0"}, "Set TF_CONFIG"),
])
def test_what_cannot_work_is_one_line(environ, told):
    with pytest.raises(UserError) as caught:
        cluster.settle(environ)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_modelarts_hosts_get_a_port():
    found = cluster.settle({
        "VC_WORKER_NUM": "2", "VC_WORKER_HOSTS": "job-0.job, job-1.job:9000",
        "VC_TASK_INDEX": "1"})
    assert found == (("job-0.job:2222", "job-1.job:9000"), 1)
    assert cluster.settle({"VC_WORKER_NUM": "1", "VC_WORKER_HOSTS": "a",
                           "VC_TASK_INDEX": "0"}).size == 1


def test_several_processes_of_each_host_rank_by_host():
    found = cluster.several(cluster.settle(tf_config(
        {"worker": ["a:10", "b:10"]}, index=1)), 2)
    addresses = ("a:10", "a:11", "b:10", "b:11")
    assert found == [(addresses, 2), (addresses, 3)]


def test_several_processes_of_one_address_too_many():
    with pytest.raises(UserError, match="b:11 is there twice"):
        cluster.several(cluster.settle(tf_config(
            {"worker": ["b:10", "b:11"]})), 2)


def test_a_process_alone_becomes_several_at_free_ports():
    places = cluster.several(cluster.Cluster(), 3)
    assert [place.rank for place in places] == [0, 1, 2]
    assert len(set(places[0].addresses)) == 3
    assert all(re.match(r"127\.0\.0\.1:\d+$", each)
               for each in places[0].addresses)


@pytest.mark.parametrize("chosen, names", [
    ("2,5", ["2", "5"]), ("", []), ("-1", []), ("0,-1,1", ["0"]),
    ("GPU-8a,GPU-9b", ["GPU-8a", "GPU-9b"])])
def test_gpus_are_those_that_cuda_would_show(chosen, names):
    assert cluster.gpus({"CUDA_VISIBLE_DEVICES": chosen}) == names


def test_gpus_are_counted_by_their_devices(tmp_path):
    (tmp_path / "dev").mkdir()
    for name in ("nvidia0", "nvidia3", "nvidiactl", "nvidia-uvm"):
        (tmp_path / "dev" / name).write_text("")
    assert cluster.gpus({}, str(tmp_path)) == ["0", "1"]


@pytest.mark.parametrize("flags, factor", [
    (["--network", "c2d"], 2), (["--network", "c2d", "--batchsize", "4"], 2),
    (["--network", "c2d", "--learning_rate", "0.5"], 1),
    (["--optimizer", "sgd"], 1), ([], 1)])
def test_a_recipes_rate_is_for_the_images_of_all_processes(
        monkeypatch, flags, factor):
    """The linear rule: of a step, not of a process."""
    alone = parse_flags(flags, "p", "").learning_rate
    monkeypatch.setitem(os.environ, "TF_CONFIG", tf_config(TWO)["TF_CONFIG"])
    assert parse_flags(flags, "p", "").learning_rate == pytest.approx(
        factor * alone)
    monkeypatch.delitem(os.environ, "TF_CONFIG")
    monkeypatch.setitem(os.environ, "RANK_SIZE", "2")
    assert parse_flags(flags + ["--platform", "npu"], "p", "").learning_rate \
        == pytest.approx(factor * alone)


def test_waiting_for_a_late_host_is_no_silence(monkeypatch):
    """A hang later on is noticed as soon as without it."""
    monkeypatch.setattr(peers, "end_at_once", lambda _: None)
    watch = peers.Watch(cluster.Cluster(("a:1",), 0), {})
    watch.stop()
    watch._found = cluster.Cluster(("a:1", "b:2"), 0)
    text = json.dumps(dict(watch._settings, rank=1)).encode()
    watch._unmet, watch._silent = {1}, {1: 600}
    watch._hear(1, text)
    assert not watch._unmet and watch._patience() == peers.SILENT_SECONDS
    watch._silent[1] = 20               # a step that took that long
    watch._hear(1, text)
    assert watch._patience() == peers.SILENT_SECONDS + 40


def test_keys_fall_and_the_last_gradients_go_first(monkeypatch):
    """By NCCL, TensorFlow begins the sum of the larger key first."""
    monkeypatch.setattr(peers, "_BUCKET_BYTES", 40)
    own = peers.Peers.__new__(peers.Peers)
    own.rank, own.size, own._sums, own._device = 0, 2, 0, "CPU"
    with tf.Graph().as_default() as graph:
        gradients = [tf.fill([size], float(size)) for size in (3, 4, 5, 20, 2)]
        means = own.mean(gradients, tf.float32)
        sums = [each for each in graph.get_operations()
                if each.type == "CollectiveReduce"]
    assert [mean.shape.as_list() for mean in means] == [
        [3], [4], [5], [20], [2]]
    assert [each.inputs[0].shape.as_list() for each in sums] == [
        [2], [20], [9], [3]]
    keys = [each.get_attr("instance_key") for each in sums]
    assert keys == sorted(keys, reverse=True) and len(set(keys)) == 4
    assert keys[-1] > 0


@pytest.mark.parametrize("error", [
    tf.errors.UnavailableError, tf.errors.FailedPreconditionError,
    tf.errors.CancelledError, tf.errors.AbortedError])
@pytest.mark.parametrize("why", ["Rank 1 at b:2 has ended.", ""])
def test_what_a_sum_ends_in_names_who_is_gone(error, why, monkeypatch):
    """Also where TensorFlow is first to find it; without a name, one line."""
    monkeypatch.setattr(peers, "SILENT_SECONDS", -2)
    monkeypatch.setattr(peers, "end_at_once", lambda _: None)
    watch = peers.Watch(cluster.Cluster(("a:1",), 0), {})
    with pytest.raises(UserError) as told, watch.waiting(None):
        if why:
            watch._lose(why)
        raise error(None, None, "Socket closed\nof it")
    watch.stop()
    assert str(told.value) == why or re.match(
        r"A step of several .* {} \(Socket closed\); .* goes on from"
        .format(error.__name__), str(told.value)), told.value
