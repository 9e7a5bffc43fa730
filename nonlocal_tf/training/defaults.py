"""What settings are where they are left open: by network, protocol, recipe."""

import re

from nonlocal_tf.architecture import BLOCKS
from nonlocal_tf.errors import bad
from nonlocal_tf.protocols import (
    DEFAULT_PROTOCOL,
    FROZEN_GROUP,
    PROTOCOLS,
    steps,
    trunk,
)
from nonlocal_tf.recipes import DIGITS, of_protocol, recipe

_SGD_RATE = 0.01                # of digits


def of(config):
    """Setting -> value, of a `TrainConfig` whose open ones are None."""
    if config.network == "digits":
        own = {"non_local": "10", "sub_sample": False, "scale": False,
               "block": "pre_norm_cosine"}
        return dict(own, **_training(config, None))
    protocol = config.protocol or DEFAULT_PROTOCOL[config.network]
    row = trunk(protocol, config.network)
    frames, interval = config.frames, config.frame_interval
    if interval is None and any(
            frames == pair[0] for pair in PROTOCOLS[protocol].halving):
        raise bad("frame_interval", "given with --frames {}: of {} it "
                  "decides whether time is halved".format(
                      frames, protocol), "none")
    own = {"protocol": protocol, "non_local": "5", "block": "paper",
           "sub_sample": row.block["sub_sample"],
           "scale": row.block.get("scale", False) and (
               config.instantiation == "embedded_gaussian")
           and not BLOCKS[config.block or "paper"].get("cosine"),
           "block_norm": "none" if config.frozen_norm else "batch",
           "frames": row.views.frames, "frame_interval": row.views.interval,
           "flip": config.dataset != "moving_digits",
           "dropout": PROTOCOLS[protocol].dropout,
           "recipe": of_protocol(protocol)}
    return dict(own, **_training(config, protocol))


def _training(config, protocol):
    """The recipe's."""
    row = recipe(config.recipe, protocol, config.network)
    return dict({name: getattr(row, name) for name in (
        "batch_size", "epoch", "optimizer", "lr_schedule", "lr_steps",
        "warmup_epochs", "weight_decay", "clip_norm")},
        learning_rate=rate(config, protocol))


def rate(config, protocol, processes=1):
    """The recipe's rate, which is for its own batch in a step.

    Args:
      config: a `TrainConfig`, whose batch size may be open.
      protocol: its name; None of digits.
      processes: that train together, each with a batch.
    """
    row = recipe(config.recipe, protocol, config.network)
    if (config.optimizer or row.optimizer) == "adam":
        return DIGITS.learning_rate
    if row is DIGITS:
        return _SGD_RATE
    return row.learning_rate * processes * (
        (config.batch_size or row.batch_size) / row.batch_size)


def check(config):
    """Raises UserError where settings of a `TrainConfig` do not fit."""
    if not re.match(r"^(0?\.[0-9]+(,0?\.[0-9]+)*)?$", config.lr_steps) or (
            [0.0] + config.lr_shares()
            != sorted({0.0}.union(config.lr_shares()))):
        raise bad("lr_steps", "rising shares of the run, above 0 and below "
                  "1, with commas between, such as 0.4,0.8",
                  repr(config.lr_steps))
    if config.lr_schedule == "step" and not config.lr_steps:
        raise bad("lr_steps", "given with --lr_schedule step, such as "
                  "0.4,0.8", "none")
    if config.network != "digits":
        _check_frames(config)
    elif config.dataset == "moving_digits":
        raise bad("network", "c2d, i3d or tsm for --dataset moving_digits",
                  config.network)
    elif config.test_url or config.recipe:
        raise bad("test_url" if config.test_url else "recipe", "left out of "
                  "--network digits", config.test_url or config.recipe)


def _check_frames(config):
    """Refuses clips of which a layer would get none, or part of a group."""
    row = trunk(config.protocol, config.network, config.frames,
                config.frame_interval)
    left = steps(row, config.frames)
    if left < 1 or config.frozen_norm and left % FROZEN_GROUP and (
            "res3" in config.placement()):
        raise bad("frames", "so many that res3 gets {}; it gets {}".format(
            "a multiple of {}, which its blocks take at a time".format(
                FROZEN_GROUP) if left else "one or more", left),
            config.frames)
