"""What the loop asks of a network and its data: digits, or video.

A task is a module with these functions of a `TrainConfig`:

  load(config)                    the data, a `datasets.Dataset`
  load_test(config, class_names)  its test images and labels alone
  settled(config, data)           the config with what the data decide
  random_samples(config, count)   what a frozen graph may be compared on
  input_shape(config, size)       of a uint8 batch
  make_network(config, **more)    a `tf.Module` of uint8 or float32 batches
  read(file, config, flags)       one input of `classify`, a batch of 1
  UNIT, INPUT_RANGE, BATCH        words and default of a frozen graph
"""

import importlib


def of(config):
    """The task of a `TrainConfig`."""
    name = "digits" if config.network == "digits" else "video"
    return importlib.import_module("nonlocal_tf.tasks." + name)


def make_network(config, momentum=None, device=None):
    """The network that a `TrainConfig` describes.

    Args:
      config: a `TrainConfig`.
      momentum: of batch norm; `layers.MOMENTUM` by default.
      device: that trains it, in the config's precision, by its fast paths
        and within its memory; None: in float32 by operations that a compiler
        for NPUs knows, for a frozen graph.
    """
    from nonlocal_tf.layers import MOMENTUM
    from nonlocal_tf.platforms.precision import COMPUTE_DTYPES
    more = {"momentum": MOMENTUM if momentum is None else momentum}
    if device:
        more.update(
            compute_dtype=COMPUTE_DTYPES[config.precision],
            affinity_limit=config.affinity_limit(device),
            fused=not config.plain)
    return of(config).make_network(config, **more)
