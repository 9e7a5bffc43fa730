"""The networks of clips from PyTorch's own operations, weights by our names.

C2D and TSM in two dimensions and I3D in three, as the systems have them, with
channels last in memory: the reference of tests/test_video.py and the other
side of the benchmarks.
"""

import torch
from torch.nn import functional

from benchmarks.pytorch_network import norm

LENGTHS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}


def tensors(values, trainable, taps):
    """Our variables as PyTorch has them.

    Args:
      values: name -> array.
      trainable: the names of those that get gradients.
      taps: of conv1's kernel; above 1, kernels are [K, C, t, k, k].
    """
    found = {}
    for name, value in values.items():
        tensor = torch.tensor(value)
        three = taps > 1 and "non_local" not in name
        if name.startswith("stem/") and tensor.dim() == 4 and three:
            tensor = tensor.reshape(7, 7, taps, 3, -1).permute(4, 3, 2, 0, 1)
        elif tensor.dim() == 4 and tensor.shape[0] != tensor.shape[1]:
            tensor = tensor.permute(3, 2, 0, 1)[..., None]  # [K, C, t, 1, 1]
        elif tensor.dim() == 4:
            tensor = tensor.permute(3, 2, 0, 1)
            tensor = tensor[:, :, None] if three else tensor
        if tensor.dim() > 3:
            tensor = tensor.contiguous(memory_format=(
                torch.channels_last if tensor.dim() == 4
                else torch.channels_last_3d))
        found[name] = tensor.requires_grad_(name in trainable)
    return found


def network(weights, clips, protocol, row, placement, form, is_training,
            resnet_size=50):
    """Logits [B, classes].

    Args:
      weights: of `tensors`; in training the moving statistics move.
      clips: uint8 [B, T, H, W, 3], or normalised floats.
      protocol, row: a `protocols.Protocol` and its `Trunk`.
      placement: stage -> bottlenecks that a block follows.
      form: of the blocks: embedded_gaussian or dot_product.
      is_training: whether batch norm takes the batch's statistics; dropout is
        left out.
    """
    if clips.dtype == torch.uint8:
        clips = (clips.float() - torch.tensor(protocol.mean)) / torch.tensor(
            protocol.deviation)
    x, batch = clips.permute(0, 4, 1, 2, 3), clips.shape[0]     # [B, 3, T..
    if row.stem_taps > 1:
        x = functional.conv3d(
            x, weights["stem/conv/kernel"], None, (row.stem_stride, 2, 2),
            (row.stem_taps // 2, 3, 3))
    else:
        x = functional.conv2d(
            images(x[:, :, ::row.stem_stride]), weights["stem/conv/kernel"],
            None, 2, 3)
    x = norm(weights, "stem/norm", x, is_training).relu_()
    x = clips_of(x, batch)
    if row.pool1_frames > 1:
        x = functional.max_pool3d(x, (row.pool1_frames, 1, 1))
    elif row.pool1_stride > 1:
        x = x[:, :, ::row.pool1_stride]
    x = functional.max_pool2d(images(x), 3, 2, row.pool1_pad)
    for stage, length in enumerate(LENGTHS[resnet_size], 2):
        for index in range(length):
            x = bottleneck(
                weights, "res{}/bottleneck_{}/".format(stage, index), x, batch,
                is_training, row, 2 if index == 0 and stage > 2 else 1)
            if index in placement.get("res{}".format(stage), ()):
                x = non_local(
                    weights, "res{}/non_local_{}/".format(stage, index), x,
                    batch, is_training, form, row.block)
        if stage == 2 and row.pool2:
            x = images(functional.max_pool3d(clips_of(x, batch), (2, 1, 1)))
    x = clips_of(x, batch).mean((2, 3, 4)) * protocol.inference_factor
    return x @ weights["dense/kernel"] + weights["dense/bias"]


def images(x):
    """[B, C, T, H, W] -> [B T, C, H, W]; with channels last, a view."""
    batch, channels, frames, height, width = x.shape
    return x.permute(0, 2, 3, 4, 1).reshape(
        batch * frames, height, width, channels).permute(0, 3, 1, 2)


def clips_of(x, batch):
    """The reverse; of what is [B, C, T, H, W] itself."""
    if x.dim() == 5:
        return x
    _, channels, height, width = x.shape
    return x.permute(0, 2, 3, 1).reshape(
        batch, -1, height, width, channels).permute(0, 4, 1, 2, 3)


def conv(weights, name, x, batch, stride=1):
    """A convolution in two or three dimensions, as its kernel has them."""
    kernel = weights[name + "/kernel"]
    if kernel.dim() == 4:
        return functional.conv2d(
            x if x.dim() == 4 else images(x), kernel,
            weights.get(name + "/bias"), stride, kernel.shape[-1] // 2)
    pad = [size // 2 for size in kernel.shape[2:]]
    return functional.conv3d(
        clips_of(x, batch), kernel, None, (1, stride, stride), pad)


def bottleneck(weights, name, x, batch, is_training, row, stride):
    """1x1 or 3x1x1, 3x3, 1x1, each with batch norm; then ReLU."""
    def layer(x, number, stride=1):
        x = conv(weights, name + "conv" + number, x, batch, stride)
        return norm(weights, name + "norm" + number, x, is_training)

    shortcut = x
    if name + "shortcut/kernel" in weights:
        shortcut = norm(weights, name + "shortcut_norm", conv(
            weights, name + "shortcut", x, batch, stride), is_training)
    y = shifted(x, batch, row.shift) if row.shift else x
    y = layer(y, "1").relu_()
    y = layer(y, "2", stride).relu_()
    y = layer(y, "3")
    y += (shortcut if shortcut.dim() == y.dim() else clips_of(
        shortcut, batch) if y.dim() == 5 else images(shortcut))
    return y.relu_()


def shifted(x, batch, divisor):
    """Moves some channels by a frame; see `nonlocal_tf.networks.video`."""
    clips = clips_of(x, batch)
    return images(_Shift.apply(clips, clips.shape[1] // divisor, 1))


class _Shift(torch.autograd.Function):
    """`fold` channels from the next frame, as many from the one before.

    Its gradient is itself, the other way. That of TSM's reference code, three
    copies into zeros, takes up to ten times as long.
    """

    @staticmethod
    def forward(context, clips, fold, way):
        context.fold, context.way = fold, way
        out = clips.clone()
        later, earlier = (slice(0, fold), slice(fold, 2 * fold))[::way]
        out[:, later, :-1] = clips[:, later, 1:]
        out[:, later, -1] = 0
        out[:, earlier, 1:] = clips[:, earlier, :-1]
        out[:, earlier, 0] = 0
        return out

    @staticmethod
    def backward(context, gradient):
        return _Shift.apply(gradient, context.fold, -context.way), None, None


def non_local(weights, name, x, batch, is_training, form, block):
    """A block over all frames of a clip, x added."""
    x = images(x) if x.dim() == 5 else x
    source = functional.max_pool2d(x, 2) if block["sub_sample"] and block.get(
        "pool_first") else x
    queries = conv(weights, name + "theta", x, batch)
    keys = conv(weights, name + "phi", source, batch)
    values = conv(weights, name + "g", source, batch)
    if block["sub_sample"] and not block.get("pool_first"):
        keys, values = (functional.max_pool2d(part, 2)
                        for part in (keys, values))
    queries, keys, values = (
        part.permute(0, 2, 3, 1).reshape(batch, -1, part.shape[1])
        for part in (queries, keys, values))
    if form == "dot_product":
        y = queries @ (keys.transpose(1, 2) @ (values / keys.shape[1]))
    else:
        if block.get("scale"):
            queries = queries / queries.shape[-1] ** 0.5
        y = (queries @ keys.transpose(1, 2)).softmax(-1) @ values
    _, _, height, width = x.shape
    y = y.reshape(-1, height, width, y.shape[-1]).permute(0, 3, 1, 2)
    z = norm(weights, name + "norm", conv(weights, name + "out", y, batch),
             is_training)
    z += x
    return z


def as_ours(tensor, name):
    """A tensor of `tensors`, or its gradient, as an array in our order."""
    if tensor.dim() == 5 and name.startswith("stem/"):
        tensor = tensor.permute(3, 4, 2, 1, 0).flatten(2, 3)
    elif tensor.dim() == 5 and tensor.shape[2] > 1:
        tensor = tensor[..., 0].permute(2, 3, 1, 0)
    elif tensor.dim() == 5:
        tensor = tensor[:, :, 0].permute(2, 3, 1, 0)
    elif tensor.dim() == 4:
        tensor = tensor.permute(2, 3, 1, 0)
    return tensor.detach().numpy()
