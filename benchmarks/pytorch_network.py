"""The same network from PyTorch's own operations, weights by our names.

ResNet-50 with ten embedded Gaussian blocks, and the block in all four forms:
the reference of tests/test_resnet.py and the other side of the benchmarks.
Activations are [B, C, H, W] with channels last in memory, as oneDNN likes
them; a block's tokens [B, N, K] are then a view.
"""

import math

import torch
from torch.nn import functional

LENGTHS = {"res2": 3, "res3": 4, "res4": 6, "res5": 3}
WITH_BLOCKS = ("res3", "res4")          # after each of their bottlenecks


def tensors(values, trainable, dtype=torch.float32):
    """Our variables as PyTorch has them: kernels [K, C, k, k].

    Args:
      values: name -> array.
      trainable: the names of those that get gradients.
      dtype: of the tensors.
    """
    found = {}
    for name, value in values.items():
        tensor = torch.tensor(value, dtype=dtype)
        if tensor.dim() == 4:
            tensor = tensor.permute(3, 2, 0, 1).contiguous(
                memory_format=torch.channels_last)
        found[name] = tensor.requires_grad_(name in trainable)
    return found


def as_ours(tensor):
    """A tensor of `tensors`, or its gradient, as an array in our order."""
    if tensor.dim() == 4:
        tensor = tensor.permute(2, 3, 1, 0)
    return tensor.detach().numpy()


def network(weights, images, image_size, is_training, sub_sample=False,
            scale=False, cosine=True):
    """Logits [B, 10].

    Args:
      weights: of `tensors`; in training the moving statistics move.
      images: uint8 [B, 28, 28, 1], 0 to 255; or floats of 0 to 1, of that
        size or already padded.
      image_size: to which 28 is padded.
      is_training: whether batch norm takes the batch's statistics.
      sub_sample, scale, cosine: of the blocks, which have a batch norm
        before them where there are weights for it.
    """
    x = images.permute(0, 3, 1, 2)
    if x.dtype == torch.uint8:
        x = x / 255.0
    rest = image_size - x.shape[-1]
    if rest:
        x = functional.pad(x, 2 * (rest // 2, rest - rest // 2))
    x = conv(weights, "stem", x, 2)
    for stage, length in LENGTHS.items():
        for index in range(length):
            x = bottleneck(weights, "{}/bottleneck_{}/".format(stage, index),
                           x, is_training, first=index == 0)
            if stage in WITH_BLOCKS:
                x = non_local(
                    weights, "{}/non_local_{}/".format(stage, index), x,
                    is_training, "embedded_gaussian", sub_sample, scale,
                    cosine)
    x = norm(weights, "norm", x, is_training).relu_().mean((2, 3))
    return x @ weights["dense/kernel"] + weights["dense/bias"]


def bottleneck(weights, name, x, is_training, first):
    """1x1, 3x3, 1x1, each after batch norm and ReLU; the first halves."""
    def layer(x, norm_name, conv_name, stride=1):
        x = norm(weights, name + norm_name, x, is_training).relu_()
        return conv(weights, name + conv_name, x, stride)

    shortcut = layer(x, "shortcut_norm", "shortcut", 2) if first else x
    y = layer(x, "norm1", "conv1")
    y = layer(y, "norm2", "conv2", 2 if first else 1)
    y = layer(y, "norm3", "conv3")
    y += shortcut
    return y


def non_local(weights, name, x, is_training, form, sub_sample=False,
              scale=False, cosine=False):
    """A block by Eq. 2 to 5 of arXiv:1711.07971, x added."""
    added = x
    if name + "pre_norm/gamma" in weights:
        x = norm(weights, name + "pre_norm", x, is_training)
    queries = keys = x
    if form != "gaussian":
        queries = conv(weights, name + "theta", x)
        keys = conv(weights, name + "phi", x)
    values = conv(weights, name + "g", x)
    if sub_sample:
        keys, values = (functional.max_pool2d(part, 2)
                        for part in (keys, values))
    queries, keys, values = map(tokens, (queries, keys, values))
    if scale and form != "concatenation":
        queries = queries / queries.shape[-1] ** 0.5
    if cosine:
        queries, keys = (functional.normalize(part, dim=-1)
                         for part in (queries, keys))
        queries = queries * ((math.log(keys.shape[1]) + 4.5) / 2)
    if form == "dot_product":
        y = dot_product(queries, keys, values)
    elif form == "concatenation":
        y = concatenation(weights, name, queries, keys, scale) @ values
    else:
        y = (queries @ keys.transpose(1, 2)).softmax(-1) @ values
    batch, _, height, width = x.shape
    y = y.reshape(batch, height, width, -1).permute(0, 3, 1, 2)
    z = norm(weights, name + "norm", conv(weights, name + "out", y),
             is_training)
    z += added
    return z


def dot_product(queries, keys, values):
    """theta phi^T g / M, by the order that takes fewer products."""
    n, width = queries.shape[1:]
    m = keys.shape[1]
    queries = queries / m
    if width * (n + m) <= 2 * n * m:
        return queries @ (keys.transpose(1, 2) @ values)
    return (queries @ keys.transpose(1, 2)) @ values


def concatenation(weights, name, queries, keys, scale):
    """ReLU(w_f . [theta, phi]) / M, [B, N, M]; Eq. 5."""
    divisor = keys.shape[1] * (queries.shape[-1] ** 0.5 if scale else 1)
    rows, columns = (
        part @ weights[name + half].flatten()[:, None] / divisor
        for part, half in ((queries, "theta_score/kernel"),
                           (keys, "phi_score/kernel")))
    return (rows + columns.transpose(1, 2)).relu_()


def tokens(x):
    """[B, K, H, W] -> [B, H W, K]: with channels last, a view."""
    batch, _, height, width = x.shape
    return x.permute(0, 2, 3, 1).reshape(batch, height * width, -1)


def conv(weights, name, x, stride=1):
    """A convolution with even padding, with a bias where there is one."""
    kernel = weights[name + "/kernel"]
    return functional.conv2d(x, kernel, weights.get(name + "/bias"), stride,
                             padding=kernel.shape[-1] // 2)


def norm(weights, name, x, is_training):
    """Batch norm; its momentum of 0.1 is not ours."""
    gamma, beta, mean, variance = (weights[name + "/" + part] for part in (
        "gamma", "beta", "moving_mean", "moving_variance"))
    return functional.batch_norm(
        x, mean, variance, gamma, beta, training=is_training, eps=1e-5)
