"""The names of a checkpoint's files; no TensorFlow is needed for them."""

import os
import re

KEEP = 3                                # of the newest, in each folder
# In the order in which they appear: by the last one a checkpoint counts.
ENDINGS = (".data-00000-of-00001", ".json", ".index")


def name_of(step):
    """How the names of a checkpoint's files begin."""
    return "model.ckpt-{}".format(step)


def index_first(names):
    """The order in which to remove files: what makes it count goes first."""
    return sorted(names, key=lambda name: not name.endswith(ENDINGS[-1]))


def step_of(name):
    """The step of a checkpoint's file; None if it is no such file."""
    match = re.match(r"^model\.ckpt-(\d+)\.", name)
    return int(match.group(1)) if match else None


def steps_among(names):
    """Steps of the checkpoints that count among file names, ascending."""
    found = [re.match(r"^model\.ckpt-(\d+)\.index$", name) for name in names]
    return sorted(int(match.group(1)) for match in found if match)


def steps_in(folder):
    """Steps of the checkpoints that count in a folder, ascending."""
    return steps_among(os.listdir(folder) if os.path.isdir(folder) else [])


def prefix_in(folder, step):
    """Path of a checkpoint without its endings."""
    return os.path.join(folder, name_of(step))
