"""The NPU platform, on a strict fake of Ascend's adapter."""

import re

import ascend
import pytest
from support import records, run_thin, tf1

pytestmark = pytest.mark.slow           # a process each, seconds to start
COMPILED = "The model has been compiled on the Ascend AI processor"


@pytest.fixture(scope="module")
def trained(tiny_set, tmp_path_factory):
    """train_gpu.py --platform npu, two epochs: its folder and its output."""
    folder = tmp_path_factory.mktemp("npu")
    done = ascend.train("train_gpu.py", [
        "--platform", "npu", "--data_url", tiny_set, "--Epoch", "2",
        "--npu_option", "deterministic=1", "--npu_option",
        "graph_memory_max_size=20GB", "--npu_option", "session_device_id=2"],
        folder, ascend.ADAPTER, ASCEND_DEVICE_ID="5")
    assert done.returncode == 0, done.stdout
    return folder / "output", done.stdout


def test_it_says_that_the_adapter_reported_a_graph(trained):
    _, said = trained
    assert said.index(COMPILED) < said.index("On the NPU: the adapter rep")
    assert re.search(r"on NPU 2, rank 0 of 1, by npu_\w+", said)


def test_the_epoch_line_ends_in_a_true_rate(trained):
    folder, said = trained
    lines = re.findall(
        r"^Epoch: (\d)\tLoss:\d+\.\d{9}\tAccuarcy: (0\.\d{4})"
        r"\tglobal_step/sec:(\d+\.\d{4})$", said, re.MULTILINE)
    epochs = records(folder, "epoch")
    assert [int(line[0]) for line in lines] == [1, 2]
    for (_, accuracy, rate), epoch in zip(lines, epochs):
        assert float(accuracy) == pytest.approx(
            epoch["train_accuracy"], abs=1e-4)
        assert float(rate) == pytest.approx(
            epoch["images_per_second"] / 8, abs=1e-4)


def test_the_convention_reads_a_true_speed_of_its_log(trained):
    """FPS is the batch times what stands after global_step/sec:."""
    from test_scripts import awk_of_the_convention
    log, = (trained[0] / "log").iterdir()
    speed, accuracy, loss = awk_of_the_convention(log, 8)
    last = records(trained[0], "epoch")[-1]
    assert speed == pytest.approx(last["images_per_second"], abs=1e-2)
    assert accuracy == pytest.approx(last["train_accuracy"], abs=1e-4)
    assert loss == pytest.approx(last["train_loss"], abs=1e-8)


def test_it_trains_as_the_cpu_does(trained, tiny_set, tmp_path):
    """The fake computes on the CPU: same images, same steps.

    Without the remapper operations are not fused and add up in another order,
    which 50 layers make larger with each step: 0.2 % was seen in epoch 2.
    """
    run_thin(tiny_set, tmp_path, resnet_size=14, non_local="1",
             learning_rate=1e-4)
    losses = [[epoch["train_loss"] for epoch in records(folder, "epoch")]
              for folder in (trained[0], tmp_path)]
    assert losses[0][0] == pytest.approx(losses[1][0], rel=2e-3)
    assert losses[0][1] == pytest.approx(losses[1][1], rel=1e-2)


def test_a_run_on_the_cpu_in_disguise_is_told(tiny_set, tmp_path):
    done = ascend.train("train_modelarts.py", [
        "--data_url", tiny_set, "--train_url", "out", "--max_steps", "1",
        "--loss_scale", "none"], tmp_path, ascend.ADAPTER,
        ASCEND_FAKE_SILENT_CPU="1")
    assert "NOT SEEN: the adapter's line" in done.stdout


def test_without_the_adapter_it_stops_and_names_the_way_out(
        tiny_set, tmp_path):
    done = ascend.train("train_modelarts.py", [
        "--data_url", tiny_set, "--train_url", "out"], tmp_path)
    line, = [line for line in done.stdout.split("\n") if "py: error:" in line]
    assert done.returncode == 2
    assert re.search("needs Ascend's package npu_(bridge|device)", line)
    assert "--platform gpu" in line
    assert "Epoch" not in done.stdout


@pytest.mark.parametrize("scale", ["1024", "dynamic"])
def test_a_loss_scale_is_wrapped_around_adam(tiny_set, tmp_path, scale):
    """npu_device has no loss scale for graphs, which is one line."""
    done = ascend.train("train_modelarts.py", [
        "--data_url", tiny_set, "--train_url", "out", "--max_steps", "3",
        "--loss_scale", scale], tmp_path, ascend.ADAPTER)
    if not ascend.ADAPTER.endswith("tf1"):
        assert done.returncode == 2
        assert "needs the adapter's NPULossScaleOptimizer" in done.stdout
        return
    assert done.returncode == 0, done.stdout
    stored = tf1.train.load_checkpoint(
        str(tmp_path / "out" / "Model" / "model.ckpt-3"))
    assert stored.has_tensor("loss_scale") == (scale == "dynamic")
    assert stored.get_tensor("global_step") == 3
