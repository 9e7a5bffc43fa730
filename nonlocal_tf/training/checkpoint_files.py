"""A checkpoint's files and settings, as far as no TensorFlow is needed."""

import os
import re

KEEP = 3                                # of the newest, in each folder
# In the order in which they appear: by the last one a checkpoint counts.
ENDINGS = (".data-00000-of-00001", ".json", ".index")

# What versions did that had no such setting, and what later ones have not.
_EARLIER = {"block": "paper", "classes": 10, "digit_size": 28}
_GONE = """
xla memory_optimization rank_table_seconds deterministic loss_scale_value
op_compiler_cache_mode op_compiler_cache_dir graph_memory_max_size
variable_memory_max_size dump_path dump_step dump_mode overflow_dump
profiling_path""".split()


def current(settings):
    """Settings of a run, also of an earlier version, as they are now."""
    settings = dict(_EARLIER, **settings)
    if settings.get("loss_scale") == "fixed":
        settings["loss_scale"] = "{:g}".format(settings["loss_scale_value"])
    gone = _GONE + ["affinity_mb"] * (settings.get("platform") == "npu")
    return {name: value for name, value in settings.items()
            if name not in gone}


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
