"""Lists of videos and their labels, in the formats that people have."""

from typing import NamedTuple

import numpy as np


class VideoList(NamedTuple):
    """Videos in the order of their list.

    paths: of the files, whether there or not. labels: int32 [N], from 0; -1
    where the list has none. class_names: by label, () if not known. remarks:
    lines that tell the user what was assumed.
    """

    paths: tuple
    labels: np.ndarray
    class_names: tuple = ()
    remarks: tuple = ()


def read(path, root="", class_names=(), classes=None):
    """The videos that a list names, or that lie in a folder per class.

    Args:
      path: of a list, or a folder with a folder for each class.
      root: folder to which paths in the list are relative; "": the list's.
      class_names: by label, of the network or of the training list: labels
        are its indices; () if there is none yet.
      classes: their number; None: not known yet.
    Returns:
      A `VideoList`.
    Raises:
      UserError: the list cannot be read or understood, or its labels are none
        of the classes; one line with the list's line number.
    """
    raise NotImplementedError
