"""What a run needs, from the network's shapes alone: memory and operations."""

from typing import NamedTuple

from nonlocal_tf.architecture import (
    BLOCKS,
    DEPTHS,
    DIGIT_CLASSES,
    EXPANSION,
    STAGES,
    linear_is_cheaper,
    taps,
)
from nonlocal_tf.protocols import CLASSES, has_out_bias, trunk

TRAINING = 3            # forward, gradients of inputs, gradients of weights
_MIB = 2 ** 20
# The graph, and buffers of the kernels, in bytes.
_GRAPH = 300 * _MIB
# Weight, gradient, Adam's two means.
_COPIES = 4
# Maps that are alive for a moment, over those that are kept.
_PASSING = 1.1
# Matrices of an affinity's size that its gradient needs for a moment.
_MATRICES = 2


class Layer(NamedTuple):
    """A bottleneck, a non-local block, or what is around them.

    Named by its stage. Of one image: numbers that the gradient needs later,
    those that are float32 in every precision, and operations of the forward
    pass (products and sums, two for a multiply-add). Then the trainable
    parameters, and the numbers of a block's affinity that is held whole.
    """

    name: str
    kept: int
    kept_float32: int
    flops: int
    parameters: int
    affinity: int = 0


def layers(config, part_size=1):
    """The `Layer`s of a `TrainConfig`'s network, in its order."""
    return (_of_digits if config.network == "digits" else _of_clips)(
        config, part_size)


def _of_digits(config, part_size):
    width, side = config.base_width, _halved(config.image_size)
    yield Layer("stem", width * side ** 2, 0, 98 * width * side ** 2,
                49 * width)
    channels = width
    for index, stage in enumerate(STAGES):
        width = config.base_width * 2 ** index
        after = config.placement().get(stage, ())
        for place in range(DEPTHS[config.resnet_size][index]):
            first = place == 0
            yield _bottleneck(stage, side, channels, width, first)
            side = _halved(side) if first else side
            channels = EXPANSION * width
            if place in after:
                yield _non_local(config, part_size, stage, 1, side, channels)
    classes = config.classes or DIGIT_CLASSES
    yield Layer("dense", channels * side ** 2, channels * side ** 2,
                2 * classes * channels, (classes + 2) * channels + classes)


def _of_clips(config, part_size):
    """Of `networks.video.VideoResNet`, for one clip."""
    row = trunk(config.protocol, config.network, config.frames,
                config.frame_interval)
    norm = 0 if config.frozen_norm else 2
    width, side = config.base_width, _halved(config.image_size)
    frames = -(-config.frames // row.stem_stride)
    places, taken = frames * side ** 2, 147 * row.stem_taps
    image = 3 * config.image_size ** 2 * (
        frames * row.stem_taps + config.frames)
    yield Layer("stem", 2 * width * places + image, 0,
                2 * taken * width * places, (taken + norm) * width)
    frames = -(-frames // row.pool1_stride)
    side = (side + 2 * row.pool1_pad - 3) // 2 + 1
    yield Layer("pool1", width * frames * side ** 2, 0, 0, 0)
    channels = width
    for index, stage in enumerate(STAGES):
        width = config.base_width * 2 ** index
        length = DEPTHS[config.resnet_size][index]
        for place in range(length):
            first = place == 0
            stride = 2 if first and stage != "res2" else 1
            yield _post_activation(
                stage, frames, side, channels, width, stride, first,
                taps(stage, place, row.inflated),
                bool(row.shift), norm)
            side = -(-side // stride)
            channels = EXPANSION * width
            if place in config.placement().get(stage, ()):
                yield _non_local(config, part_size, stage, frames, side,
                                 channels, row.block)
        if stage == "res2" and row.pool2:
            frames //= 2
            yield Layer("pool2", channels * frames * side ** 2, 0, 0, 0)
    classes = config.classes or CLASSES
    yield Layer("dense", channels, channels, 2 * channels * classes,
                (channels + 1) * classes)


def _post_activation(name, frames, side, channels, width, stride, first, taps,
                     shift, norm):
    """Input [frames, side, side, channels]."""
    n, m = frames * side ** 2, frames * (-(-side // stride)) ** 2
    wide = EXPANSION * width
    kept = 2 * width * (n + m) + 2 * wide * m + shift * channels * n
    weights = (taps * channels + 9 * width + wide) * width
    products = (taps * channels * n + 9 * width * m + wide * m) * width
    weights += norm * (2 * width + wide)
    if first:
        kept += wide * m + (stride > 1) * width * frames * (side + 2) ** 2
        products += channels * wide * m
        weights += (channels + norm) * wide
    return Layer(name, kept, 0, 2 * products, weights)


def flops_per_image(config):
    """Of the forward pass, two for each multiply-add of a product.

    Batch norm, ReLU, softmax and Adam are not counted.
    """
    return sum(layer.flops for layer in layers(config))


def training_flops(config):
    """Of a step, for an image."""
    return TRAINING * flops_per_image(config)


def parameters(config):
    """Trainable ones."""
    return sum(layer.parameters for layer in layers(config))


def memory(config, part_size):
    """Bytes that training takes at its peak, beyond what the process has.

    Of a CPU's kernels; those of a GPU may take other buffers.

    Args:
      config: a `TrainConfig`.
      part_size: images in memory at a time.
    """
    small = 4 if config.precision == "float32" else 2
    found = list(layers(config, part_size))
    image = sum(small * layer.kept + 4 * layer.kept_float32 for layer in found)
    copies = _COPIES + (part_size < config.batch_size)
    weights = parameters(config) * (4 * copies + (small if small < 4 else 0))
    matrices = 4 * _MATRICES * max(layer.affinity for layer in found)
    return int(_GRAPH + weights + part_size * (_PASSING * image + matrices))


def _bottleneck(name, side, channels, width, first):
    """Input [side, side, channels]; the first of a stage has stride 2."""
    out = _halved(side) if first else side
    n, m, wide = side ** 2, out ** 2, EXPANSION * width
    kept = channels * n                             # norm1, ReLU
    kept += 2 * width * n                           # conv1; norm2, ReLU
    kept += 2 * width * m                           # conv2; norm3, ReLU
    kept += wide * m                                # the sum
    products = (channels * width * n + 9 * width ** 2 * m + width * wide * m)
    weights = channels * width + 9 * width ** 2 + width * wide
    weights += 2 * (channels + 2 * width)
    if first:
        kept += channels * n                        # shortcut_norm, ReLU
        kept += width * (side + 2) ** 2             # padded by ourselves
        products += channels * wide * m
        weights += channels * wide + 2 * channels
    return Layer(name, kept, 0, 2 * products, weights)


def _non_local(config, part_size, name, frames, side, channels, block=None):
    """Input [frames, side, side, channels]; `block`: of a `Trunk`."""
    block, groups = block or {}, 1
    inner = max(1, int(channels * config.inner_ratio))
    if config.frozen_norm and name == "res3":
        groups, frames = frames // 4, 4
    form, n = config.instantiation, frames * side ** 2
    m = frames * max(1, side // 2) ** 2 if config.sub_sample else n
    theta, key_side = (0, 1) if form == "gaussian" else (1, 2)
    compared = channels if form == "gaussian" else inner
    source, pooled = n, compared + inner            # of phi and g
    if config.sub_sample and block.get("pool_first"):
        source, pooled = m, channels
    kept = inner * (theta * n + key_side * source)  # theta, phi, g
    kept += inner * n + 2 * channels * n            # y; out; the sum
    if config.sub_sample:
        kept += pooled * m
    products = channels * inner * ((theta + 1) * n + key_side * source)
    weights = inner * (theta + key_side) * (channels + 1) + inner * channels
    if config.network == "digits" or has_out_bias(config):
        weights += channels
    weights += 2 * channels * (config.block_norm in (None, "batch"))
    extra, wide = BLOCKS[config.block], 0
    if extra.get("pre_norm"):
        kept += channels * n
        weights += 2 * channels
    if extra.get("cosine") and form != "concatenation":
        kept += compared * (n + m)
        if config.precision != "float32":       # else the same
            wide = compared * (n + m)
    pairs, whole = n * m * (compared + inner), 0
    if form == "concatenation":
        pairs = n * m * inner
        weights += 2 * inner
    if form == "dot_product" and linear_is_cheaper(inner, n, m):
        pairs = (n + m) * inner ** 2
        kept += inner ** 2
    else:
        limit = config.affinity_limit()
        if limit is None or 4 * n * m * groups * part_size <= limit:
            whole = n * m
    softmax = whole if "gaussian" in form else 0
    if not softmax or config.precision != "float32":    # else the same
        kept += 2 * whole if form == "concatenation" else whole
    return Layer(name, groups * kept, groups * (softmax + wide),
                 2 * groups * (products + pairs), weights, groups * whole)


def _halved(side):
    return -(-side // 2)
