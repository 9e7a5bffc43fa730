"""Memory, operations and time that are foretold, and what follows."""

import types

import numpy as np
import pytest
import tensorflow as tf
from support import tf1

from nonlocal_tf.architecture import DEPTHS
from nonlocal_tf.errors import UserError
from nonlocal_tf.platforms import gpu
from nonlocal_tf.platforms.machine import Memory
from nonlocal_tf.tasks import make_network
from nonlocal_tf.training import need, plan
from nonlocal_tf.training.config import TrainConfig, divisors

GIB = 2 ** 30


def free(gibibytes):
    """A machine's memory, of which TensorFlow has taken a part."""
    return Memory(gibibytes * GIB, GIB // 2)


def count_in_graph(config):
    """Operations of the products of one image, from shapes; parameters."""
    total = 0
    with tf.Graph().as_default() as graph:
        network = make_network(config, device="CPU")
        network(tf1.placeholder(tf.uint8, [1, 28, 28, 1]), is_training=False)
        for op in graph.get_operations():
            if op.type == "Conv2D":
                kernel = op.inputs[1].shape.as_list()
                total += 2 * int(np.prod(op.outputs[0].shape.as_list())) * (
                    kernel[0] * kernel[1] * kernel[2])
            if "MatMul" in op.type:
                inner = op.inputs[0].shape.as_list()[
                    -2 if op.get_attr("adj_x" if "Batch" in op.type else
                                      "transpose_a") else -1]
                total += 2 * inner * int(
                    np.prod(op.outputs[0].shape.as_list()))
    return total, network.parameters()


def test_flops_of_the_smallest_network_are_those_counted_by_hand():
    # Multiply-adds: stem, res2 to res5, dense.
    by_hand = 9604 + 2695 + 5000 + 7296 + 4032 + 320
    assert need.flops_per_image(TrainConfig(
        image_size=28, base_width=1, non_local="0")) == 2 * by_hand


@pytest.mark.parametrize("inner_ratio, gflop", [(0.5, 57.91), (1.0, 91.55)])
def test_flops_of_the_whole_network_are_those_of_its_stages(
        inner_ratio, gflop):
    total = 112 * 112 * 49 * 64                             # stem
    area, channels = 112 * 112, 64
    for length, width, blocks in (
            (3, 64, 0), (4, 128, 1), (6, 256, 1), (3, 512, 0)):
        total += area * channels * width                    # first 1x1
        area //= 4
        total += area * channels * 4 * width                # shortcut
        channels = 4 * width
        total += (length - 1) * area * channels * width     # other first 1x1
        total += length * area * (9 * width + channels) * width
        inner = int(channels * inner_ratio)
        total += blocks * length * (
            4 * area * channels * inner + 2 * area * area * inner)
    total += 2048 * 10                                      # dense
    needed = need.training_flops(TrainConfig(inner_ratio=inner_ratio))
    assert needed == 3 * 2 * total
    assert 1e-9 * needed == pytest.approx(gflop, abs=0.01)


@pytest.mark.parametrize("settings", [
    dict(sub_sample=True), dict(instantiation="gaussian", image_size=61),
    dict(instantiation="dot_product", inner_ratio=0.25),
    dict(instantiation="concatenation", classes=3),
    pytest.param(dict(resnet_size=101, image_size=28, non_local="5"),
                 marks=pytest.mark.slow)],
    ids=lambda settings: "-".join(map(str, settings.values())))
def test_operations_and_parameters_are_those_of_the_graph(
        settings, monkeypatch):
    """Of ResNet-101 whole; else of some bottlenecks, two with a block."""
    monkeypatch.setitem(DEPTHS, 50, (1, 2, 2, 1))
    config = TrainConfig(**dict(dict(
        image_size=56, base_width=16, non_local="res3:1;res4:0"), **settings))
    operations, parameters = count_in_graph(config)
    assert need.flops_per_image(config) == pytest.approx(operations, rel=0.01)
    assert need.parameters(config) == parameters


def test_a_matrix_beyond_its_limit_needs_no_memory():
    whole = TrainConfig(batch_size=64, affinity_mb=0)
    split = TrainConfig(batch_size=64, affinity_mb=100)
    saved = need.memory(whole, 64) - need.memory(split, 64)
    matrix = 4 * 64 * 784 ** 2          # of one block; four have one
    assert 4 * matrix < saved < 8 * matrix
    assert need.memory(whole, 32) == need.memory(split, 32)


@pytest.mark.parametrize("number, expected", [
    (1, [1]), (12, [12, 6, 4, 3, 2, 1]), (7, [7, 1])])
def test_divisors(number, expected):
    assert divisors(number) == expected


def test_auto_takes_the_most_that_leaves_a_share_of_the_memory():
    config = TrainConfig()
    for memory in map(free, (6, 12, 24, 48)):
        size = plan.part_size(config, memory)
        share = memory.free + memory.used
        assert plan.peak(config, memory, size) <= 0.85 * share
        assert size == 128 or (
            plan.peak(config, memory, 2 * size) > 0.79 * share)


def test_auto_takes_the_batch_where_nothing_is_known_of_the_memory():
    assert plan.part_size(TrainConfig(), None) == 128


def test_auto_keeps_the_size_of_the_run_that_goes_on():
    assert plan.part_size(TrainConfig(), free(48), 16) == 16


@pytest.mark.parametrize("settings, words", [
    (dict(image_size=2048), "Lower --image_size.*or try --micro_batch 1 "),
    (dict(batch_size=1), "1 image of 224 pixels")])
def test_auto_refuses_what_cannot_fit_in_one_line(settings, words):
    with pytest.raises(UserError, match=words) as caught:
        plan.part_size(TrainConfig(**settings), free(1))
    assert "\n" not in str(caught.value)


class Device:
    """A platform with so much memory, by name of the device."""

    size = 1

    def __init__(self, device, memory):
        self.device, self.memory = device, lambda: memory

    def session_config(self):
        return None


@pytest.mark.parametrize("settings, note", [
    (dict(micro_batch="64"), None),
    (dict(), {"config": {"micro_batch": "64"}})])
def test_a_part_that_was_asked_for_is_tried_with_a_warning(
        monkeypatch, settings, note):
    monkeypatch.setattr(plan, "_rate", lambda *_: 1e12)
    config, memory = plan.fit(
        TrainConfig(**settings), Device("CPU", free(6)), note)
    assert config.part_size() == 64
    estimate, warning = plan.foretell(
        config, Device("CPU", free(6)), memory, 9, 9, False)
    assert "6.0 GiB free" in estimate
    assert "64 images" in warning and "--micro_batch 16." in warning


def test_on_a_gpu_auto_takes_the_whole_batch_and_memory_is_not_foretold(
        monkeypatch):
    monkeypatch.setattr(tf1.Session, "list_devices", lambda _: [
        types.SimpleNamespace(device_type=kind) for kind in ("CPU", "GPU")])
    monkeypatch.setattr(plan, "_rate", lambda *_: 1e12)
    config = TrainConfig(image_size=2048)
    platform = gpu.Platform(config)
    assert (platform.device, platform.memory(), platform.peak_memory()) == (
        "GPU", None, None)
    config, memory = plan.fit(config, platform, None)
    assert config.part_size() == 128
    assert [line for line in plan.foretell(
        config, platform, memory, 9, 9, False) if "GiB" in line] == []


@pytest.mark.parametrize("device, mib", [
    ("CPU", 256), ("GPU", 2048), ("NPU", None)])
def test_affinities_are_split_by_the_device(device, mib):
    assert TrainConfig().affinity_limit(device) == (
        mib and mib * 2 ** 20)
    assert TrainConfig(affinity_mb=0).affinity_limit(device) is None
    assert TrainConfig(affinity_mb=5).affinity_limit(device) == 5 * 2 ** 20


def loops(device):
    """In the graph of one block's training at 112 pixels, batch 128."""
    with tf.Graph().as_default() as graph:
        config = TrainConfig(image_size=112, non_local="res2:0", base_width=4)
        network = make_network(config, device=device)
        network(tf1.placeholder(tf.uint8, [128, 28, 28, 1]), is_training=True)
        return sum(op.type in ("While", "StatelessWhile", "Enter")
                   for op in graph.get_operations())


def test_a_gpu_has_no_loop_where_a_cpu_has_one(monkeypatch):
    monkeypatch.setitem(DEPTHS, 50, (1, 1, 1, 1))
    assert loops("CPU") > 0
    assert loops("GPU") == 0


@pytest.mark.parametrize("text", ["0", "-1", "3", "256", "many", "", "1.5"])
def test_a_part_must_divide_the_batch(text):
    with pytest.raises(UserError, match="divisor of --batchsize 128"):
        TrainConfig(micro_batch=text)


def test_a_run_of_days_names_the_flags_that_shorten_it():
    config = TrainConfig()
    assert plan.too_long(config, 86000) == ""
    text = plan.too_long(config, 3 * 86400)
    for words in ("3.0 days", "--image_size 56 (about 1/1", "--Epoch 4",
                  "--precision bfloat16"):
        assert words in text
    assert "--image_size" not in plan.too_long(
        TrainConfig(image_size=56), 3 * 86400)
    assert plan.too_long(TrainConfig(
        image_size=56, epoch=4, precision="bfloat16"), 90000,
        "GPU") == "That is 1.0 days."


def test_a_run_that_goes_on_is_told_no_flag_that_it_may_not_change():
    text = plan.too_long(TrainConfig(), 3 * 86400, resumed=True)
    assert "--image_size" not in text and "--precision" not in text


@pytest.mark.parametrize("image_size, batch_size, expected", [
    (28, 64, 8), (28, 6, 6), (28, 127, 127), (224, 64, 1)])
def test_auto_leaves_batch_norm_enough_to_average_over(
        image_size, batch_size, expected):
    config = TrainConfig(image_size=image_size, batch_size=batch_size)
    assert plan._sensible(config)[-1] == expected


def test_time_is_the_operations_over_the_rate(monkeypatch):
    monkeypatch.setattr(plan, "_rate", lambda *_: 1e9)
    config = TrainConfig(micro_batch="128")
    assert plan.seconds_per_image(config, None) == pytest.approx(
        1.3 * 57.9, rel=0.01)


def test_a_trial_gives_seconds_for_an_image():
    config = TrainConfig(image_size=28, base_width=8, micro_batch="128")
    seconds = plan.seconds_per_image(config, None)
    assert 0 < seconds < 60
