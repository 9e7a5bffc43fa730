"""How a run fits this machine: images at a time, and the time it will take."""

import dataclasses
import math
import time

import tensorflow as tf

from nonlocal_tf.architecture import STAGES
from nonlocal_tf.errors import UserError
from nonlocal_tf.training import need
from nonlocal_tf.training.config import divisors
from nonlocal_tf.training.graph import COMPUTE_DTYPES
from nonlocal_tf.training.messages import GIB

tf1 = tf.compat.v1

# Of the free memory for --micro_batch auto: 85 % less what `need.memory` may
# be wrong by.
_SHARE = 0.8
# Of the probe's images, so that it takes a fraction of a second.
_PROBE_FLOPS = 2e9
# What the whole step takes beyond its products at the probe's speed.
_OVERHEAD = 1.3
DAY = 86400.0                           # seconds


def part_size(config, memory, earlier=None):
    """Images in memory at a time.

    Args:
      config: a `TrainConfig`.
      memory: a `machine.Memory`; None where it is not known.
      earlier: part size of the run that goes on; auto keeps it, as batch norm
        has seen parts of that size.
    Raises:
      UserError: what was asked for, or even one image, does not fit.
    """
    asked = config.part_size() or earlier
    if asked:
        if memory and peak(config, memory, asked) > memory.free:
            raise _does_not_fit(config, asked, memory)
        return asked
    for size in divisors(config.batch_size):
        if not memory or _fits_well(config, memory, size):
            return size
    raise _does_not_fit(config, 1, memory)


def peak(config, memory, size):
    """Bytes that the process will have at its peak, in parts of `size`."""
    return memory.used + need.memory(config, size)


def _fits_well(config, memory, size):
    return peak(config, memory, size) <= _SHARE * memory.free


def _does_not_fit(config, size, memory):
    fitting = [each for each in divisors(config.batch_size)
               if _fits_well(config, memory, each)]
    return UserError(
        "Training on {} {} of {} pixels at a time must fit into the free "
        "memory, {:.1f} GiB; it takes about {:.1f} GiB. {}".format(
            size, "images" if size > 1 else "image", config.image_size,
            memory.free / GIB, peak(config, memory, size) / GIB,
            "Give --micro_batch {}.".format(fitting[0]) if fitting else
            "Lower --image_size or --base_width, give --precision bfloat16, "
            "or free some memory."))


def seconds_per_image(config, session_config):
    """What training takes an image here, from a short trial of convolutions.

    One 3x3 convolution of each stage with its gradients is timed, at the size
    and in the precision of the run; the other products of the stage are taken
    to be as fast. A guess: within a factor of two.

    Args:
      config: a `TrainConfig` with a part size.
      session_config: `ConfigProto` of the run.
    """
    flops = dict.fromkeys(STAGES, 0)
    for layer in need.layers(config, config.part_size()):
        if layer.name in flops:
            flops[layer.name] += 3 * layer.flops
    total, side = 0.0, math.ceil(config.image_size / 2)
    for index, stage in enumerate(STAGES):
        side = math.ceil(side / 2)
        total += flops[stage] / _rate(
            config, session_config, side, config.base_width * 2 ** index)
    return _OVERHEAD * total


def _rate(config, session_config, side, width):
    """Operations a second of a convolution [side, side, width]."""
    image_flops = 3 * 18 * side ** 2 * width ** 2
    images = max(1, min(config.part_size(), int(_PROBE_FLOPS / image_flops)))
    dtype = COMPUTE_DTYPES[config.precision]
    with tf.Graph().as_default(), tf1.Session(
            config=session_config) as session:
        x, kernel = [tf1.placeholder_with_default(tf.ones(shape, dtype), shape)
                     for shape in ([images, side, side, width],
                                   [3, 3, width, width])]
        y = tf1.nn.conv2d(x, kernel, [1, 1, 1, 1], "SAME")
        run = [each.op for each in tf1.gradients(y, [x, kernel])] + [y.op]
        seconds = []
        for _ in range(4):
            began = time.perf_counter()
            session.run(run)
            seconds.append(time.perf_counter() - began)
    return images * image_flops / min(seconds[1:])


def too_long(config, seconds):
    """The flags that shorten a run of `seconds`; "" below a day.

    Args:
      config: a `TrainConfig`.
      seconds: the run's, by `seconds_per_image`.
    """
    if seconds < DAY:
        return ""
    flags = []
    if config.image_size > 56:
        flags.append("--image_size 56 (about 1/{:.0f} of it)".format(
            need.flops_per_image(config) / need.flops_per_image(
                dataclasses.replace(config, image_size=56))))
    if config.epoch > 4:
        flags.append("--Epoch 4")
    if config.precision == "float32":
        flags.append("--precision bfloat16, where the processor has it")
    return ("That is {:.1f} days: take a GPU, or {}.".format(
        seconds / DAY, "; ".join(flags)))
