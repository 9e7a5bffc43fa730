"""Two processes that train together, over loopback.

As two cards, on the collectives of the adapter's fake; and as two GPUs would,
on the CPU and TensorFlow's own servers.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys

import ascend
import numpy as np
import pytest
from support import ROOT, THIN, records, write_tiny_set

from nonlocal_tf.data import batches, datasets, idx
from nonlocal_tf.platforms import cluster

pytestmark = pytest.mark.slow           # a process each, seconds to start
PROBE = os.path.join(ROOT, "tests", "ranks_probe.py")


def places(kind, folder):
    """Flags and variables of two processes of a kind: "npu" or "gpu"."""
    if kind == "npu":
        return [(["--platform", "npu"], dict(each, POD_NAME="job-0"))
                for each in ascend.rank_variables(folder, 2)]
    return [(["--threads", "1"], dict(
        each.environment(), CUDA_VISIBLE_DEVICES="-1"))
        for each in cluster.several(cluster.Cluster(), 2)]


def start(folder, rank, variables, flags):
    """One rank's process, with the flags of a thin run."""
    return subprocess.Popen(
        [sys.executable, "-u", "-W", "ignore", PROBE,
         str(folder / "rank{}.npz".format(rank))] + THIN
        + ["--non_local", "res4:0"] + list(flags),
        cwd=str(folder), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        universal_newlines=True,
        env=ascend.environment(ascend.ADAPTER, ROOT, **variables))


def run_both(kind, folder, *flags, **variables):
    """Variables of both ranks after their run; what they printed."""
    code = variables.pop("code", 0)
    processes = [
        start(folder, rank, dict(own, **variables), more + list(flags))
        for rank, (more, own) in enumerate(places(kind, folder))]
    said = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [code] * 2, said
    if code:
        return None, said
    return [dict(np.load(str(folder / "rank{}.npz".format(rank))))
            for rank in (0, 1)], said


@pytest.fixture(scope="module", params=["npu", "gpu"])
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def both(kind, tiny_set, tmp_path_factory):
    """Two epochs of 4 steps of 2 x 8 images, with one checkpoint between."""
    folder = tmp_path_factory.mktemp("both")
    flags = ["--data_url", tiny_set, "--train_url", "out", "--Epoch", "2",
             "--learning_rate", "3e-3"]
    run_both(kind, folder, *(flags + ["--max_steps", "3"]))
    values, said = run_both(kind, folder, *flags)
    return folder, values, said


def test_both_ranks_end_with_the_same_variables(both):
    """All of them: Adam's, and batch norm's statistics after a test."""
    first, second = both[1]
    assert sorted(first) == sorted(second)
    assert first["global_step"] == second["global_step"] == 8
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], name)


def test_a_restart_goes_on_from_the_checkpoint_of_rank_0(both):
    folder, _, said = both
    assert "Going on from out/Model/model.ckpt-3" in said[0]
    assert "step 8 " in said[0] and "step 8 " in said[1]
    assert [record["step"] for record in records(folder / "out", "epoch")] == [
        4, 8]


def test_a_run_in_pieces_equals_an_unbroken_one(kind, both, tiny_set):
    """Statistics are means over both, which add up in another order."""
    folder, (broken, _), _ = both
    (unbroken, _), _ = run_both(
        kind, folder, "--data_url", tiny_set, "--train_url", "whole", "--Epoch",
        "2", "--learning_rate", "3e-3")
    shutil.rmtree(str(folder / "whole"))
    for name, value in unbroken.items():
        if "moving" in name:
            np.testing.assert_allclose(
                broken[name], value, rtol=1e-5, atol=1e-6, err_msg=name)
        else:
            np.testing.assert_array_equal(broken[name], value, name)


def test_a_rank_0_that_cannot_start_does_not_leave_others_waiting(
        kind, both, tiny_set):
    """Rank 1 ends by the same exchange, long before HCCL's limit."""
    _, said = run_both(
        kind, both[0], "--data_url", tiny_set, "--train_url", "out", "--Epoch",
        "2", "--seed", "5", code=1)             # the probe has no one line
    assert "was made with seed 0 (now 5)" in said[0]
    assert "Rank 0 cannot start; see its log" in said[1]


def test_rank_0_alone_reports_and_writes(kind, both):
    folder, _, said = both
    assert said[0].count("Epoch: ") == 2
    assert "Epoch: " not in said[1] and "checkpoint" not in said[1]
    assert sorted(os.listdir(str(folder))) == [
        "out", "rank0.npz", "rank1.npz"] + ["table.json"] * (kind == "npu")


def test_the_metrics_are_of_all_ranks(both):
    for record in records(both[0] / "out", "epoch"):
        assert record["train_images"] == 64
        assert record["test_images"] == 23
    accuracies = [re.search(r"^step 8 accuracy (\S+)", said,
                            re.MULTILINE).group(1) for said in both[2]]
    assert accuracies[0] == accuracies[1]


@pytest.mark.skipif(not ascend.ADAPTER.endswith("tf1"), reason="npu_device "
                    "has no loss scale for graphs")
def test_a_loss_scale_is_one_for_both_ranks(tiny_set, tmp_path):
    """The adapter has to know that there are several."""
    (first, second), _ = run_both(
        "npu", tmp_path, "--data_url", tiny_set, "--train_url", "out",
        "--max_steps", "2", "--loss_scale", "dynamic")
    assert first["global_step"] == 2
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], name)


def write_paired_set(folder):
    """Both ranks' parts of each step of epoch 1: 8 images, other labels.

    So batch norm sees the same mean and variance in each rank as in one
    process with all 16, and gradients differ between the ranks.
    """
    write_tiny_set(folder, train=64)
    data = datasets.load("mnist", str(folder))
    images, labels = data.train_images.copy(), data.train_labels.copy()
    order = batches.epoch_order(0, 1, 64).reshape(4, 2, 8)
    images[order[:, 1]] = images[order[:, 0]]
    labels[order[:, 1]] = np.roll(labels[order[:, 0]], 3, axis=1)
    for name, array in zip(datasets.FILES, (images[..., 0], labels)):
        idx.write_idx(os.path.join(str(folder), name), array.astype(np.uint8))


def test_two_ranks_do_what_one_process_does_with_both_batches(kind, tmp_path):
    """Adam's means of the gradients are linear in them: weights stay.

    Where batch norm differs: the moving variance is n / (n - 1) of the
    batch's, and n is that of one rank. The tolerance is for sums in another
    order, by which a few ReLUs turn: 0.07 was seen; a sum in place of the mean
    would be off by 1.
    """
    data = tmp_path / "data"
    data.mkdir()
    write_paired_set(data)
    flags = ["--data_url", str(data), "--learning_rate", "1e-30",
             "--image_size", "56", "--base_width", "16", "--Epoch", "1",
             "--max_steps", "3", "--log_steps", "1"]
    ranks, _ = run_both(kind, tmp_path, "--train_url", "two", *flags)
    one = start(tmp_path, 9, {}, [
        "--train_url", "one", "--batchsize", "16"] + flags)
    said, _ = one.communicate(timeout=300)
    assert one.returncode == 0, said
    one = dict(np.load(str(tmp_path / "rank9.npz")))
    assert sorted(one) == sorted(ranks[0])
    compared = 0
    for name, value in one.items():
        if name.endswith(("/Adam", "/Adam_1", "moving_mean")):
            difference = np.linalg.norm(ranks[0][name] - value)
            assert difference <= 0.1 * np.linalg.norm(value) + 1e-7, name
            compared += 1
    assert compared > 80
    name = "resnet/norm/moving_variance"            # of 2 x 2 pixels
    start_share = (1 / 10) * (2 / 11) * (3 / 12)    # of the initial 1
    n = 8 * 2 * 2
    np.testing.assert_allclose(
        (ranks[0][name] - start_share) / (one[name] - start_share),
        (n / (n - 1)) / (2 * n / (2 * n - 1)), rtol=3e-3)
    steps = [[record["train_loss"] for record in records(
        tmp_path / folder, "step")] for folder in ("one", "two")]
    assert steps[0] == pytest.approx(steps[1], rel=1e-4)


def test_a_signal_in_a_test_stops_both_and_a_restart_does_it(
        kind, tiny_set, tmp_path):
    flags = ["--data_url", tiny_set, "--train_url", "out", "--Epoch", "2"]
    processes = [
        start(tmp_path, rank, dict(own, PROBE_SIGNALLED="1" * rank),
              more + flags)
        for rank, (more, own) in enumerate(places(kind, tmp_path))]
    said = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [143, 143], said
    assert "Epoch: " not in said[0]
    assert (tmp_path / "out" / "Model" / "model.ckpt-4.index").exists()
    flags += ["--checkpoint_seconds", "1e-9"]       # by rank 0's clock
    _, said = run_both(kind, tmp_path, *flags)
    assert said[0].count("Epoch: ") == 2
    assert len(records(tmp_path / "out", "epoch")) == 2


def test_a_signal_to_one_rank_stops_both_after_the_same_step(
        kind, tiny_set, tmp_path):
    processes = [
        start(tmp_path, rank, variables, more + [
            "--data_url", tiny_set, "--train_url", "out", "--Epoch", "100000"])
        for rank, (more, variables) in enumerate(places(kind, tmp_path))]
    for line in processes[0].stdout:
        if "First step" in line:
            break
    processes[1].send_signal(signal.SIGTERM)
    said = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [143, 143], said
    steps = [re.search(r"^step (\d+) ", text, re.MULTILINE).group(1)
             for text in said]
    assert steps[0] == steps[1]
    assert (tmp_path / "out" / "Model" / "model.ckpt-{}.index".format(
        steps[0])).exists()


def test_other_images_of_a_step_do_not_go_on(both, tiny_set):
    folder = both[0]
    process = start(folder, 9, {}, [
        "--data_url", tiny_set, "--train_url", "out", "--Epoch", "3"])
    said, _ = process.communicate(timeout=300)
    assert "ranks 2 (now 1)" in said
    assert "--batchsize times the processes must stay 16" in said
    with open(str(folder / "out" / "Model" / "model.ckpt-8.json")) as file:
        assert json.load(file)["fixed"]["ranks"] == 2


def test_another_number_of_ranks_goes_on_with_as_many_images(both, tiny_set):
    """Two times 8 images become one time 16; this test is the last."""
    folder = both[0]
    process = start(folder, 9, {}, [
        "--data_url", tiny_set, "--train_url", "out", "--Epoch", "3",
        "--batchsize", "16"])
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said
    assert "Going on from out/Model/model.ckpt-8, epoch 3" in said
    with open(str(folder / "out" / "Model" / "model.ckpt-12.json")) as file:
        assert json.load(file)["fixed"]["ranks"] == 1
