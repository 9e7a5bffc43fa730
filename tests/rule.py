"""Weights and clips by rule, from names and shapes alone.

What other systems computed with them is committed in vectors/video.json; see
peer_mmaction2.py.
"""

import zlib

import numpy as np


def tensor(name, shape):
    """A weight of another system's layout: float32, none of them trivial."""
    random = np.random.RandomState(zlib.crc32(name.encode("ascii")))
    if len(shape) > 1:
        scale = (2.0 / np.prod(shape[1:])) ** 0.5
        if ".theta." in name or ".phi." in name:
            scale *= 0.15                       # no softmax is one-hot
        if ".g." in name:
            scale *= 0.3
        if "fc_cls" in name:
            scale *= 0.1
        value = random.randn(*shape) * scale
    elif name.endswith(("running_var", "bn.weight")):
        value = random.uniform(0.5, 1.5, shape)
        if name.endswith(("conv3.bn.weight", "conv_out.bn.weight")):
            value *= 0.3                        # of a branch that is added
    else:
        value = random.randn(*shape) * 0.1
    return value.astype(np.float32)


def clips(batch, frames, size):
    """uint8 [B, T, S, S, 3]: patterns that move, and noise."""
    random = np.random.RandomState(frames * size)
    time, row, column = np.ogrid[:frames, :size, :size]
    waves = [np.sin(row / (3.0 + each) + column / 7.0 - time * (each + 1))
             for each in range(3 * batch)]
    waves = np.stack(waves, 3).reshape(frames, size, size, batch, 3)
    noise = random.uniform(-0.4, 0.4, waves.shape)
    return np.round(127 + 90 * (waves + noise)).clip(0, 255).astype(
        np.uint8).transpose(3, 0, 1, 2, 4)
