"""What a run needs, from the network's shapes alone: memory and operations."""

from typing import NamedTuple

from nonlocal_tf.architecture import (
    BLOCKS,
    DEPTHS,
    DIGIT_CLASSES,
    EXPANSION,
    STAGES,
    linear_is_cheaper,
)

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
    """Yields every `Layer` of a `TrainConfig`'s network, in its order."""
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
                yield _non_local(config, part_size, stage, side, channels)
    classes = config.classes or DIGIT_CLASSES
    yield Layer("dense", channels * side ** 2, channels * side ** 2,
                2 * classes * channels, (classes + 2) * channels + classes)


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


def _non_local(config, part_size, name, side, channels):
    inner = max(1, int(channels * config.inner_ratio))
    form, n = config.instantiation, side ** 2
    m = max(1, side // 2) ** 2 if config.sub_sample else n
    embedded = 1 if form == "gaussian" else 3
    compared = channels if form == "gaussian" else inner
    kept = embedded * inner * n                     # theta, phi, g
    kept += inner * n + 2 * channels * n            # y; out; the sum
    if config.sub_sample:
        kept += (compared + inner) * m
    products = (embedded + 1) * channels * inner * n
    weights = (embedded + 1) * channels * inner + embedded * inner
    weights += 3 * channels                         # out's bias, norm
    extra, wide = BLOCKS[config.block], 0
    if extra.get("pre_norm"):
        kept += channels * n
        weights += 2 * channels
    if extra.get("cosine") and form != "concatenation":
        kept += compared * (n + m)
        if config.precision != "float32":       # else the same
            wide = compared * (n + m)
    pairs = n * m * (compared + inner)
    if form == "concatenation":
        pairs = n * m * inner
        weights += 2 * inner
    if form == "dot_product" and linear_is_cheaper(inner, n, m):
        pairs = (n + m) * inner ** 2
        return Layer(name, kept + inner ** 2, wide, 2 * (products + pairs),
                     weights)
    limit = config.affinity_limit()
    whole = n * m if limit is None or 4 * n * m * part_size <= limit else 0
    softmax = whole if "gaussian" in form else 0
    if not softmax or config.precision != "float32":    # else the same
        kept += 2 * whole if form == "concatenation" else whole
    return Layer(name, kept, softmax + wide, 2 * (products + pairs), weights,
                 whole)


def _halved(side):
    return -(-side // 2)
