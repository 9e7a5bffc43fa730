"""The embedded data set: 1,797 real handwritten digits, without a download.

scikit-learn carries them (`load_digits`: the test part of UCI's "Optical
Recognition of Handwritten Digits", 8x8 pixels, values 0 to 16). Here they get
MNIST's geometry: the digit in 20x20 pixels, a border of 4, values 0 to 255.
Every step is in whole numbers, so that each machine gets the same bytes.

Test digits are unseen images, not unseen writers: the set does not say who
wrote what, so the same hands may be found in both parts.
"""

import numpy as np

from nonlocal_tf.errors import UserError

_INNER, _BORDER = 20, 4                                # pixels
_TEST_PERCENT = 20
_SPLIT_SEED = 1711                                     # arXiv 1711.07971


def digits():
    """The four arrays, the same on every machine.

    Returns:
      train_images [1438, 28, 28, 1] uint8, train_labels [1438] int32,
      test_images [359, 28, 28, 1] uint8, test_labels [359] int32.
    Raises:
      UserError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise UserError(
            "The data set 'digits' comes with scikit-learn, which cannot be "
            "imported ({}). Run: pip install scikit-learn".format(error))
    source = load_digits()
    images = enlarge(source.images)
    labels = source.target.astype(np.int32)
    train, test = split(labels)
    return images[train], labels[train], images[test], labels[test]


def enlarge(small):
    """8x8 digits to MNIST's 28x28, bilinear, in whole numbers.

    Args:
      small: [N, 8, 8], whole numbers 0 to 16.
    Returns:
      [N, 28, 28, 1] uint8: 20x20 interpolated pixels (centres aligned, edges
      repeated), rounded half up, 16 becoming 255, in a border of zeros.
    """
    rows = _weights(small.shape[1])                    # [20, 8], tenths
    small = np.asarray(small).astype(np.int64)
    tall = np.einsum("yi,nij->nyj", rows, small)       # [N, 20, 8]
    full = np.einsum("xj,nyj->nyx", rows, tall)        # [N, 20, 20]
    full = (full * 255 + 800) // 1600                  # 10 * 10 * 16
    edge = (_BORDER, _BORDER)
    return np.pad(full.astype(np.uint8), ((0, 0), edge, edge),
                  mode="constant")[..., np.newaxis]


def split(labels):
    """A fixed split: of every class a fifth, rounded, goes to the test part.

    Returns:
      train, test: ascending indices into `labels`.
    """
    random = np.random.RandomState(_SPLIT_SEED)        # stable across NumPy
    is_test = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        count = (len(members) * _TEST_PERCENT + 50) // 100
        is_test[random.permutation(members)[:count]] = True
    return np.flatnonzero(~is_test), np.flatnonzero(is_test)


def _weights(size):
    """[20, size] shares of the old pixels in each new one, in tenths.

    The centre of new pixel y lies at (y + 1/2) * 8/20 - 1/2 = (4 y - 3) / 10
    in old pixels.
    """
    weights = np.zeros((_INNER, size), np.int64)
    for y in range(_INNER):
        low, share = divmod(4 * y - 3, 10)
        weights[y, max(low, 0)] += 10 - share
        weights[y, min(low + 1, size - 1)] += share
    return weights
