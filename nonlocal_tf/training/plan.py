"""How a run fits this machine: images at a time, and the time it will take."""

import dataclasses
import math
import time

import tensorflow as tf

from nonlocal_tf import tasks
from nonlocal_tf.architecture import STAGES
from nonlocal_tf.errors import UserError
from nonlocal_tf.platforms.precision import COMPUTE_DTYPES
from nonlocal_tf.training import messages, need
from nonlocal_tf.training.config import divisors
from nonlocal_tf.training.messages import GIB

tf1 = tf.compat.v1

# Of what is free and what the process has, for --micro_batch auto: 85 % less
# what `need.memory` may be wrong by.
_SHARE = 0.8
# Numbers over which batch norm averages a channel, for --micro_batch auto.
_LEAST = 8
# Of the probe's images, so that it takes a fraction of a second.
_PROBE_FLOPS = 2e9
# What the whole step takes beyond its products at the probe's speed.
_OVERHEAD = 1.3
DAY = 86400.0                           # seconds


def fit(config, platform, note):
    """Chooses the images that are in memory at a time.

    Of several processes each takes its whole batch, unless told otherwise:
    none knows more.

    Args:
      config: a `TrainConfig`.
      platform: a `Platform`.
      note: of the checkpoint from which the run goes on, or None.
    Returns:
      The config with a part size, and the device's `machine.Memory`, None
      where it is not known.
    Raises:
      UserError: not even the smallest sensible part fits, or several
        cards were asked to take parts.
    """
    if platform.size > 1:
        size, memory = config.part_size() or config.batch_size, None
        if size < config.batch_size and platform.device == "NPU":
            raise UserError(
                "--micro_batch must be auto or --batchsize {} where several "
                "cards train together; got {}. Leave it out.".format(
                    config.batch_size, size))
    else:
        memory = platform.memory()
        size = part_size(config, memory, note and _normed(config, note))
    return dataclasses.replace(config, micro_batch=str(size)), memory


def _normed(config, note):
    """Images over which a run took batch norm's statistics at a time.

    A run of several processes may go on as one with all their images.
    """
    before = note["config"]
    size = int(before.get("micro_batch", config.batch_size)) * (
        note["fixed"]["ranks"] if before.get("sync_batch_norm") else 1)
    return size if config.batch_size % size == 0 else None


def part_size(config, memory, earlier=None):
    """Images in memory at a time.

    Args:
      config: a `TrainConfig`; what it asks for is taken, fit or not.
      memory: a `machine.Memory`; None where it is not known.
      earlier: part size of the run that goes on; auto keeps it, as batch norm
        has seen parts of that size.
    Raises:
      UserError: auto finds none that fits.
    """
    asked = config.part_size() or earlier
    if asked or not memory:
        return asked or config.batch_size
    size = _that_fits(config, memory)
    if size is None:
        least = _sensible(config)[-1]
        raise UserError("{} {}, or try --micro_batch {} all the same.".format(
            _too_large(config, least, memory), _smaller(config), least))
    return size


def foretell(config, platform, memory, steps_left, epoch_steps, resumed):
    """Lines on what a run will take, before it begins.

    Args:
      config, memory: of `fit`.
      platform: a `Platform`; of an NPU nothing is foretold.
      steps_left, epoch_steps: of the run, and of an epoch.
      resumed: whether it goes on, so that some flags may not change.
    """
    if platform.device == "NPU":
        return []
    size = config.part_size()
    seconds = config.batch_size * seconds_per_image(
        config, platform.session_config())
    left = seconds * steps_left
    lines = [messages.estimate(
        config, memory and peak(config, memory, size),
        memory and memory.free, seconds * min(epoch_steps, steps_left), left)]
    if memory and need.memory(config, size) > memory.free:
        fits = _that_fits(config, memory)
        lines.append("{} If the process is killed: {}.".format(
            _too_large(config, size, memory),
            "--micro_batch {}".format(fits) if fits else _smaller(config)))
    lines.append(too_long(config, left, platform.device, resumed))
    return list(filter(None, lines))


def peak(config, memory, size):
    """Bytes that the process will have at its peak, in parts of `size`."""
    return memory.used + need.memory(config, size)


def _sensible(config):
    """Divisors of the batch that leave batch norm enough to average over.

    Seen at 28 pixels, where res5 has one position: parts of 8 learn as the
    whole batch of 64 does, parts of 2 and 1 do not.
    """
    positions = math.ceil(config.image_size / 32) ** 2
    return [size for size in divisors(config.batch_size)
            if size == config.batch_size or size * positions >= _LEAST]


def _that_fits(config, memory):
    """The largest sensible part that leaves a share of the memory, or None."""
    return next((size for size in _sensible(config) if peak(
        config, memory, size) <= _SHARE * (memory.free + memory.used)), None)


def _too_large(config, size, memory):
    return ("Training on {} {} of {} pixels at a time must fit into the free "
            "memory, {:.1f} GiB; it takes about {:.1f} GiB.".format(
                size, tasks.of(config).UNIT[:-1 if size == 1 else None],
                config.image_size,
                memory.free / GIB, need.memory(config, size) / GIB))


def _smaller(config):
    return "Lower --image_size or --base_width{}".format(
        ", give --precision bfloat16 where the processor has it"
        if config.precision == "float32" else "")


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
            flops[layer.name] += need.TRAINING * layer.flops
    total, side = 0.0, math.ceil(config.image_size / 2)
    for index, stage in enumerate(STAGES):
        side = math.ceil(side / 2)
        total += flops[stage] / _rate(
            config, session_config, side, config.base_width * 2 ** index)
    return _OVERHEAD * total


def _rate(config, session_config, side, width):
    """Operations a second of a convolution [side, side, width]."""
    image_flops = need.TRAINING * 18 * side ** 2 * width ** 2
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


def too_long(config, seconds, device="CPU", resumed=False):
    """The flags that shorten a run of `seconds`; "" below a day.

    Args:
      config: a `TrainConfig`.
      seconds: the run's, by `seconds_per_image`.
      device: of its platform.
      resumed: whether it goes on, so that some flags may not change.
    """
    if seconds < DAY:
        return ""
    ways = ["take a GPU"] if device == "CPU" else []
    if config.image_size > 56 and not resumed:
        small = dataclasses.replace(config, image_size=56)
        ways.append("--image_size 56 (about 1/{:.0f} of it)".format(
            need.flops_per_image(config) / need.flops_per_image(small)))
    if config.precision == "float32" and not resumed:
        ways.append("--precision bfloat16, where the processor has it")
    if config.epoch > 4 and not config.max_steps:
        ways.append("fewer epochs (--Epoch 4)")
    return "That is {:.1f} days{}.".format(
        seconds / DAY, ": " + "; or ".join(ways) if ways else "")
