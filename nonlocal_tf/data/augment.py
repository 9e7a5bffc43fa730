"""Training images moved, turned, scaled and bent, a little.

What happens to an image is a function of (seed, epoch, its index) alone, so
that neither a resume nor the number of processes changes a batch.
"""

import math

import numpy as np

from nonlocal_tf.architecture import DIGIT_SIZE

_SHIFT = 2.0                    # pixels of 28, at most
_ANGLE = math.radians(10.0)     # at most
_SCALE = math.log(1.1)         # at most, either way
# Elastic distortion (Simard et al., ICDAR 2003): normal numbers on a grid,
# smoothed over the image; pixels of 28, standard deviation.
_GRID, _BEND = 6, 0.7


def augmented(images, seed, epoch, indices):
    """Images as an epoch sees them.

    Args:
      images: uint8 [B, H, W, 1].
      seed, epoch: each 0 to 2**32 - 1.
      indices: [B], of the images within the training set.
    Returns:
      uint8 [B, H, W, 1], bilinear between the pixels, 0 outside the image.
    """
    count, height, width = images.shape[:3]
    numbers = np.stack([_numbers(seed, epoch, index) for index in indices])
    uniform = numbers[:, :4, None, None].astype(np.float32)
    normal = numbers[:, 4:].reshape([count, 2, _GRID, _GRID])
    angle, size = _ANGLE * uniform[:, 0], np.exp(_SCALE * uniform[:, 1])
    y = np.arange(height, dtype=np.float32)[:, None] - (height - 1) / 2.0
    x = np.arange(width, dtype=np.float32) - (width - 1) / 2.0
    unit = height / DIGIT_SIZE
    y = y - _SHIFT * unit * uniform[:, 2]
    x = x - _SHIFT * unit * uniform[:, 3]
    bend = _BEND * unit * np.matmul(
        np.matmul(_smooth(height), normal), _smooth(width).T)
    cosine, sine = np.cos(angle) / size, np.sin(angle) / size
    return _sample(
        images[..., 0],
        cosine * y - sine * x + bend[:, 0] + (height - 1) / 2.0,
        sine * y + cosine * x + bend[:, 1] + (width - 1) / 2.0)[..., None]


def _numbers(seed, epoch, index):
    """Four uniform numbers, -1 to 1, and normal ones for the grid."""
    random = np.random.RandomState([seed, epoch, int(index)])
    return np.concatenate([
        random.uniform(-1.0, 1.0, 4), random.standard_normal(2 * _GRID ** 2)])


def _smooth(size):
    """[size, grid]: Gaussian weights of the grid's points, of unit length."""
    points = np.linspace(0, size - 1, _GRID)
    spacing = max(size - 1, 1) / (_GRID - 1)
    weights = np.exp(
        -0.5 * ((np.arange(size)[:, None] - points) / (0.7 * spacing)) ** 2)
    return weights / np.sqrt((weights ** 2).sum(1, keepdims=True))


def _sample(images, y, x):
    """Values [B, H, W] at rows y and columns x [B, H, W], rounded."""
    height, width = images.shape[1:]
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)), "constant")
    y = np.clip(y + 1.0, 0.0, height + 0.999)       # within the border of 0
    x = np.clip(x + 1.0, 0.0, width + 0.999)
    row, column = y.astype(np.int32), x.astype(np.int32)
    y, x = (y - row).astype(np.float32), (x - column).astype(np.float32)
    flat = padded.reshape(-1)
    first = (np.arange(len(images))[:, None, None] * (height + 2) + row) * (
        width + 2) + column

    def between(start):
        left, right = flat[start], flat[start + 1]
        return left + x * (right.astype(np.float32) - left)

    upper, lower = between(first), between(first + width + 2)
    return (upper + y * (lower - upper) + 0.5).astype(np.uint8)
