"""What goes into the contenders: the same arrays for all."""

import numpy as np

from nonlocal_tf.protocols import CLASSES


def digits(count):
    """Bright spots on black as uint8 [count, 28, 28, 1], and labels."""
    random = np.random.RandomState(0)
    images = random.randint(0, 256, (count, 28, 28, 1))
    images[random.rand(count, 28, 28, 1) < 0.8] = 0         # as in MNIST
    return images.astype(np.uint8), random.randint(
        0, 10, count).astype(np.int32)


def batch(config, count):
    """Images or clips, uint8 [count, ...], and labels, for a `TrainConfig`."""
    if config.network == "digits":
        return digits(count)
    random = np.random.RandomState(0)
    clips = random.randint(0, 256, (
        count, config.frames, config.image_size, config.image_size, 3))
    return clips.astype(np.uint8), random.randint(
        0, config.classes or CLASSES, count).astype(np.int32)


def normal(shape, seed, scale=1.0):
    """float32 from N(0, scale^2)."""
    return (scale * np.random.RandomState(seed).randn(*shape)).astype(
        np.float32)


def block_values(form, channels, inner):
    """The variables of a `NonLocalBlock` by short names; none is 0.

    Args:
      form: of `nonlocal_tf.architecture.INSTANTIATIONS`.
      channels, inner: C and K.
    """
    values = {"norm/" + name: np.full([channels], value, np.float32)
              for name, value in (("gamma", 0.5), ("beta", 0.1),
                                  ("moving_mean", 0.0),
                                  ("moving_variance", 1.0))}
    widths = {"g": (channels, inner), "out": (inner, channels)}
    if form != "gaussian":
        widths.update(theta=(channels, inner), phi=(channels, inner))
    for seed, (name, (before, after)) in enumerate(sorted(widths.items())):
        values[name + "/kernel"] = normal(
            [1, 1, before, after], seed, 0.3 * before ** -0.5)
        values[name + "/bias"] = np.full([after], 0.01, np.float32)
    if form == "concatenation":
        for seed, half in enumerate(("theta_score", "phi_score")):
            values[half + "/kernel"] = normal(
                [1, 1, inner, 1], 10 + seed, (2 * inner) ** -0.5)
    return values
