"""The network: its size by formula, its shapes, PyTorch beside it."""

import numpy as np
import pytest
import tensorflow as tf
from support import graph_session, random_values, set_values, short_names, tf1

from nonlocal_tf.architecture import BLOCKS, PLACEMENTS
from nonlocal_tf.resnet import ResNet, pad_digits
from nonlocal_tf.training import need
from nonlocal_tf.training.config import TrainConfig
from nonlocal_tf.training.graph import make_network


def count_by_formula(lengths, blocks, inner_ratio):
    """Trainable parameters, from the layers' widths alone."""
    total = 7 * 7 * 1 * 64                                  # stem
    channels = 64
    for stage, (length, width) in enumerate(
            zip(lengths, (64, 128, 256, 512))):
        out = 4 * width
        for index in range(length):
            total += 2 * channels + channels * width        # norm1, conv1
            total += 2 * width + 9 * width * width          # norm2, conv2
            total += 2 * width + width * out                # norm3, conv3
            if index == 0:
                total += 2 * channels + channels * out      # shortcut
            channels = out
        inner = int(channels * inner_ratio)
        total += blocks[stage] * (
            3 * (channels * inner + inner)                  # theta, phi, g
            + inner * channels + channels                   # out
            + 2 * channels)                                 # its norm
    return total + 2 * channels + channels * 10 + 10        # norm, dense


def test_the_default_block_has_a_batch_norm_of_x_more():
    """2 C a block: 512 channels in res3, 1024 in res4."""
    config = TrainConfig()
    with tf.Graph().as_default():
        network = make_network(config)
    expected = 38235210 + 2 * (4 * 512 + 6 * 1024)
    assert network.parameters() == need.parameters(config) == expected


def trainable_count(**settings):
    with tf.Graph().as_default():
        return sum(int(np.prod(variable.shape.as_list()))
                   for variable in ResNet(**settings).trainable_variables)


@pytest.mark.parametrize("inner_ratio, expected", [
    (0.5, 38235210), (1.0, 52927562)])
def test_resnet_50_with_ten_blocks_has_the_known_size(inner_ratio, expected):
    assert count_by_formula((3, 4, 6, 3), (0, 4, 6, 0), inner_ratio) == expected
    assert trainable_count(inner_ratio=inner_ratio) == expected


@pytest.mark.parametrize("resnet_size, lengths", [
    (101, (3, 4, 23, 3)), (152, (3, 8, 36, 3))])
def test_deeper_networks_have_the_size_of_the_formula(resnet_size, lengths):
    placement = PLACEMENTS[resnet_size, 10]
    assert trainable_count(
        resnet_size=resnet_size, placement=placement
    ) == count_by_formula(lengths, (0, 4, 6, 0), 0.5)


def test_biases_are_those_of_the_blocks_and_of_dense():
    with tf.Graph().as_default():
        names = [name for name in short_names(ResNet())
                 if name.endswith("/bias")]
    assert len(names) == 10 * 4 + 1
    assert all("non_local" in name or name == "dense/bias" for name in names)


def test_stages_have_the_documented_shapes():
    with tf.Graph().as_default() as graph:
        ResNet()(tf1.placeholder(tf.uint8, [2, 28, 28, 1]), is_training=False)
        shapes = {op.name.split("/")[1]: op.outputs[0].shape.as_list()
                  for op in graph.get_operations()
                  if op.name.startswith("resnet/") and op.type in (
                      "Conv2D", "Add", "AddV2")
                  and len(op.outputs[0].shape.as_list()) == 4}
    assert shapes["stem"] == [2, 112, 112, 64]
    assert shapes["res2"] == [2, 56, 56, 256]
    assert shapes["res3"] == [2, 28, 28, 512]
    assert shapes["res4"] == [2, 14, 14, 1024]
    assert shapes["res5"] == [2, 7, 7, 2048]


@pytest.mark.parametrize("image_size", [28, 29, 33, 56])
def test_every_image_size_from_28_gives_ten_logits(image_size):
    with tf.Graph().as_default():
        network = ResNet(image_size=image_size, base_width=2)
        logits = network(
            tf1.placeholder(tf.uint8, [None, 28, 28, 1]), is_training=True)
        assert logits.shape.as_list() == [None, 10]


def test_padding_puts_the_digit_in_the_middle_and_scales_it_to_one():
    digit = np.full((1, 28, 28, 1), 255, np.uint8)
    expected = np.pad(np.ones((1, 28, 28, 1), np.float32),
                      [(0, 0), (1, 2), (1, 2), (0, 0)], "constant")
    with graph_session() as session:
        padded = session.run(pad_digits(tf.constant(digit), 31))
    np.testing.assert_array_equal(padded, expected)


def test_an_image_padded_outside_gives_the_same_logits():
    digits = np.random.RandomState(0).randint(
        0, 256, (2, 28, 28, 1)).astype(np.uint8)
    padded = np.pad(digits / np.float32(255),
                    [(0, 0), (4, 4), (4, 4), (0, 0)], "constant")
    with graph_session() as session:
        network = ResNet(image_size=36, base_width=2)
        set_values(session, random_values(network.variables, 3))
        inside = network(tf.constant(digits), is_training=False)
        outside = network(tf.constant(padded), is_training=False)
        inside, outside = session.run([inside, outside])
    np.testing.assert_allclose(inside, outside, atol=1e-5)


@pytest.mark.parametrize("settings, message", [
    ({"resnet_size": 18}, "50, 101, 152"), ({"image_size": 27}, "at least 28")])
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        ResNet(**settings)


# PyTorch as an independent reference --------------------------------------

def torch_results(torch, dtype, values, images, trainable, *settings):
    """Logits and gradients of their squared sum, by our names."""
    from benchmarks import pytorch_network
    weights = pytorch_network.tensors(values, trainable, dtype)
    logits = pytorch_network.network(
        weights, torch.tensor(images, dtype=dtype) / 255.0, 33, *settings)
    (logits ** 2).sum().backward()
    return logits.detach().numpy(), {
        name: pytorch_network.as_ours(weights[name].grad)
        for name in trainable}


@pytest.mark.parametrize("is_training, sub_sample, scale, block", [
    (False, False, False, "paper"), (False, True, True, "paper"),
    (True, False, False, "paper"), (False, True, False, "pre_norm_cosine"),
    (True, False, False, "pre_norm_cosine")])
def test_logits_and_gradients_equal_pytorch(
        is_training, sub_sample, scale, block):
    """As near to PyTorch's float64 as PyTorch's own float32, times 10."""
    torch = pytest.importorskip(
        "torch", reason="PyTorch is not installed: no independent reference")
    images = np.random.RandomState(0).randint(
        0, 256, (4, 28, 28, 1)).astype(np.uint8)
    with graph_session() as session:
        network = ResNet(image_size=33, base_width=8, sub_sample=sub_sample,
                         scale=scale, **BLOCKS[block])
        values = random_values(network.variables, 4)
        set_values(session, values)
        logits = network(tf.constant(images), is_training=is_training)
        names = short_names(network)
        trainable = [name for name in names if names[name].trainable]
        gradients = dict(zip(trainable, tf1.gradients(
            tf.reduce_sum(logits ** 2), [names[n] for n in trainable])))
        logits, gradients = session.run([logits, gradients])
        values = {name: values[names[name]] for name in names}
    settings = (values, images, trainable, is_training, sub_sample, scale,
                block == "pre_norm_cosine")
    logits64, gradients64 = torch_results(torch, torch.float64, *settings)
    logits32, gradients32 = torch_results(torch, torch.float32, *settings)
    assert distance(logits, logits64) <= 1e-3 + 10 * distance(
        logits32, logits64)
    for name in trainable:
        assert distance(gradients[name], gradients64[name]) <= (
            1e-3 * np.linalg.norm(gradients64[name]) + 1e-3
            + 10 * distance(gradients32[name], gradients64[name])), name


def distance(a, b):
    return np.linalg.norm(a - b)
