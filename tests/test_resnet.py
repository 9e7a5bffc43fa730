"""The network: its size by formula, its shapes, PyTorch beside it."""

import numpy as np
import pytest
import tensorflow as tf
from support import graph_session, random_values, set_values, short_names, tf1

from nonlocal_tf.architecture import BLOCKS, DEPTHS, STAGES
from nonlocal_tf.networks.digits import ResNet
from nonlocal_tf.tasks import make_network
from nonlocal_tf.training import need
from nonlocal_tf.training.config import TrainConfig


def count_by_formula(lengths, inner_ratio):
    """Trainable parameters with ten blocks, from the layers' widths alone."""
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
        total += (0, 4, 6, 0)[stage] * (
            3 * (channels * inner + inner)                  # theta, phi, g
            + inner * channels + channels                   # out
            + 2 * channels)                                 # its norm
    return total + 2 * channels + channels * 10 + 10        # norm, dense


def test_resnet_50_with_ten_blocks_has_the_known_size():
    """The default's second norm is 2 C a block: 512 of res3, 1024 of res4.

    Biases are those of the blocks' four convolutions and of dense.
    """
    assert count_by_formula((3, 4, 6, 3), 0.5) == 38235210
    config = TrainConfig()
    with tf.Graph().as_default():
        network = make_network(config)
        biases = [name for name in short_names(network)
                  if name.endswith("/bias")]
    expected = 38235210 + 2 * (4 * 512 + 6 * 1024)
    assert network.parameters() == need.parameters(config) == expected
    assert len(biases) == 10 * 4 + 1
    assert all("non_local" in name or name == "dense/bias" for name in biases)


@pytest.mark.parametrize("resnet_size, lengths, inner_ratio", [
    (50, (3, 4, 6, 3), 1.0), (101, (3, 4, 23, 3), 0.5),
    (152, (3, 8, 36, 3), 0.5)])
def test_the_size_is_that_of_the_formula(resnet_size, lengths, inner_ratio):
    expected = count_by_formula(lengths, inner_ratio)
    assert need.parameters(TrainConfig(
        resnet_size=resnet_size, inner_ratio=inner_ratio, block="paper")
    ) == expected


def by_numpy(images, weights, lengths):
    """Logits in inference mode, from arXiv:1603.05027, in float64."""
    def layer(x, norm_name, conv_name, stride=1):
        gamma, beta, mean, variance = (
            weights["{}/{}".format(norm_name, part)] for part in (
                "gamma", "beta", "moving_mean", "moving_variance"))
        x = np.maximum(0, gamma * (x - mean) / np.sqrt(variance + 1e-5) + beta)
        return x if conv_name is None else conv(
            x, weights[conv_name + "/kernel"], stride)

    x = conv(images, weights["stem/kernel"], 2)
    for stage, length in zip(STAGES, lengths):
        for index in range(length):
            at = "{}/bottleneck_{}/".format(stage, index)
            stride = 1 if index else 2
            shortcut = x if index else layer(
                x, at + "shortcut_norm", at + "shortcut", 2)
            for number in (1, 2, 3):
                x = layer(x, "{}norm{}".format(at, number),
                          "{}conv{}".format(at, number),
                          stride if number == 2 else 1)
            x = x + shortcut
    x = layer(x, "norm", None).mean((1, 2))
    return x @ weights["dense/kernel"] + weights["dense/bias"]


def conv(x, kernel, stride):
    size = len(kernel)
    padded = np.pad(x, [(0, 0)] + 2 * [(size // 2,) * 2] + [(0, 0)], "constant")
    rows, columns = (-(-side // stride) for side in x.shape[1:3])
    return sum(padded[:, i:i + stride * rows:stride,
                      j:j + stride * columns:stride][:, :rows, :columns]
               @ kernel[i, j] for i in range(size) for j in range(size))


def test_equals_numpy_of_digits_and_of_padded_images(monkeypatch):
    """At an odd size, whose maps are odd too; the rest is below, right."""
    monkeypatch.setitem(DEPTHS, 50, (2, 1, 1, 1))
    digits = np.random.RandomState(0).randint(
        0, 256, (2, 28, 28, 1)).astype(np.uint8)
    padded = np.pad(digits / np.float32(255),
                    [(0, 0), (4, 5), (4, 5), (0, 0)], "constant")
    with graph_session() as session:
        network = ResNet(placement={}, image_size=37, base_width=2)
        values = random_values(network.variables, 3)
        set_values(session, values)
        weights = {name: values[variable].astype(np.float64)
                   for name, variable in short_names(network).items()}
        both = session.run([network(tf.constant(each), is_training=False)
                            for each in (digits, padded)])
    for logits in both:
        np.testing.assert_allclose(
            logits, by_numpy(padded, weights, DEPTHS[50]), rtol=1e-4, atol=1e-4)


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
    (False, True, True, "paper"), (True, False, False, "pre_norm_cosine")])
def test_logits_and_gradients_equal_pytorch(
        is_training, sub_sample, scale, block, monkeypatch):
    """As near to PyTorch's float64 as PyTorch's own float32, times 10."""
    torch = pytest.importorskip(
        "torch", reason="PyTorch is not installed: no independent reference")
    from benchmarks import pytorch_network
    monkeypatch.setitem(DEPTHS, 50, (1, 2, 1, 1))
    monkeypatch.setattr(pytorch_network, "LENGTHS", dict(zip(
        STAGES, DEPTHS[50])))
    images = np.random.RandomState(0).randint(
        0, 256, (4, 28, 28, 1)).astype(np.uint8)
    with graph_session() as session:
        network = ResNet(placement={"res3": (0, 1), "res4": (0,)},
                         image_size=33, base_width=8, sub_sample=sub_sample,
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
