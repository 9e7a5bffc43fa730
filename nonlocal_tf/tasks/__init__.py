"""What the loop asks of a network and its data: digits, or video.

A task is a module with these functions of a `TrainConfig`:

  load(config)                    the data: train_labels, test_labels,
                                  class_names, and what its task needs
  settled(config, data)           the config with what the data decide
  fingerprint(data)               that a resumed run must have too
  train_batches(config, data, epoch, start, rank, ranks)
                                  from batch `start` of an epoch on
  waiting(config)                 what helps where steps wait for batches
  test_batches(config, data, batch_size, rank, ranks)
  remarks(config, data)           lines at the end of a run
  title, size, name, source       of a config: words for a run's first lines
  load_test(config, class_names, count, plan)
                                  the first test samples, and labels, that a
                                  frozen graph is compared on; None without
  random_samples(config, count, plan)     noise in their place
  samples(config, plan)           how many, unless told
  input_shape(config, size)       of a uint8 batch
  make_network(config, **more)    a `tf.Module` of uint8 or float32 batches
  read(file, config, flags)       one input of `classify`, a batch of 1
  UNIT                            of a batch, a word
  BATCH, TEST                     a frozen graph's default batch size, and
                                  which setting names the test samples
"""

import importlib


def of(config):
    """The task of a `TrainConfig`."""
    name = "digits" if config.network == "digits" else "video"
    return importlib.import_module("nonlocal_tf.tasks." + name)


def make_network(config, momentum=None, device=None, seed=None):
    """The network that a `TrainConfig` describes.

    Args:
      config: a `TrainConfig`.
      momentum: of batch norm; `layers.MOMENTUM` by default.
      device: that trains it, in the config's precision, by its fast paths
        and within its memory; None: in float32 by operations that a compiler
        for NPUs knows, for a frozen graph.
      seed: of dropout, a function to int64 [2]; None: another each time.
    """
    from nonlocal_tf.layers import MOMENTUM
    from nonlocal_tf.platforms.precision import COMPUTE_DTYPES
    more = {"momentum": MOMENTUM if momentum is None else momentum,
            "seed": seed}
    if device:
        more.update(
            compute_dtype=COMPUTE_DTYPES[config.precision],
            affinity_limit=config.affinity_limit(device),
            fused=not config.plain)
    return of(config).make_network(config, **more)
