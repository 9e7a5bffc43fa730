"""Tensors of another system to the variables of `VideoResNet`, and back."""

import re
from typing import NamedTuple

import numpy as np

from nonlocal_tf.command import some
from nonlocal_tf.errors import UserError
from nonlocal_tf.layers import EPSILON
from nonlocal_tf.weights.names import (
    IGNORED,
    SYSTEMS,
    theirs,
    to_ours,
    to_theirs,
)

# How the names of a network's tensors begin, in one system or another.
_OF_A_NETWORK = re.compile(
    r"(backbone|cls_head|head)\.|layer\d|conv1|bn1\.|fc\.|res\d|res_conv1|"
    r"bn(\d|_conv1)|nonlocal_|pred_")


class Group(NamedTuple):
    """A line of the table: tensors of a part of the network."""

    name: str
    wanted: int
    mapped: int
    missing: tuple                      # our names


class Mapped(NamedTuple):
    """What `map_in` made."""

    values: dict                        # our name -> array
    groups: list
    unused: list                        # their names
    dropped: int                        # momentum, counters


def map_in(path, found, tensors, shapes, optional=()):
    """Values for our variables.

    Args:
      path: of the file, for the error.
      found: a `recognise.Found`.
      tensors: their name -> array.
      shapes: our name -> list, of all variables.
      optional: beginnings of names that may be missing and keep their start.
    Raises:
      UserError: it names what is missing, of another shape, not finite, or
        of a network and not used.
    """
    values, wrong, groups, used, broken = {}, [], {}, set(), []
    for name, shape in shapes.items():
        source = theirs(found.system, name, found.traits)
        group = groups.setdefault(_group(name), [0, 0, []])
        group[0] += 1
        if source not in tensors:
            group[2].append(name)
            if not name.startswith(tuple(optional)):
                wrong.append("no {} for {}".format(
                    source or "such part in " + found.system, name))
            continue
        used.add(source)
        value = to_ours(name, np.asarray(tensors[source], np.float32), shape,
                        SYSTEMS[found.system].input_major)
        if list(value.shape) != list(shape):
            wrong.append("{} is {}, for {} {}".format(
                source, list(tensors[source].shape), name, list(shape)))
            continue
        if not np.isfinite(value).all():
            broken.append(source)
        values[name] = value
        group[1] += 1
    unused = [name for name in tensors
              if name not in used and not IGNORED.search(name)]
    wrong += ["nothing for " + name for name in unused
              if _OF_A_NETWORK.match(name)]
    if wrong:
        raise UserError(
            "{!r} must have just the variables of the network; {} differ: "
            "{}{}. Give the flags of the network that it is of (--network, "
            "--image_size and so on), or --new_head for another classifier."
            .format(path, len(wrong), "; ".join(wrong[:6]),
                    "; ..." if len(wrong) > 6 else ""))
    if broken:
        raise UserError(
            "{!r} must have finite weights; others are in {}. The file is "
            "damaged, or its training diverged: fetch it again, or take an "
            "earlier one.".format(path, some(broken, 6)))
    return Mapped(
        values, [Group(name, *groups[name][:2], tuple(groups[name][2]))
                 for name in sorted(groups, key=lambda name: (
                     name == "classifier", name != "conv1", name))],
        unused, len(tensors) - len(used) - len(unused))


def _group(name):
    """The line of the table that a variable is counted in."""
    first = name.split("/")[0]
    if "/non_local_" in name:
        return first + " blocks"
    return {"stem": "conv1", "dense": "classifier"}.get(first, first)


def fold(values):
    """Batch norms as scales and shifts, as the authors' converter does it.

    gamma / sqrt(variance + 1e-5) and beta - mean gamma / sqrt(...): what
    frozen norms are named after.

    Args:
      values: our name -> array.
    Returns:
      The same without statistics.
    """
    folded = dict(values)
    for name in values:
        if not name.endswith("/moving_variance"):
            continue
        scope = name[:-len("moving_variance")]
        scale = values[scope + "gamma"] / np.sqrt(
            folded.pop(name) + np.float32(EPSILON))
        folded[scope + "gamma"] = scale
        folded[scope + "beta"] = values[scope + "beta"] - (
            folded.pop(scope + "moving_mean") * scale)
    return folded


def map_out(system, network, traits, values):
    """Their tensors from our variables.

    Args:
      system: "mmaction2" or "caffe2".
      network: one of `protocols.VIDEO_NETWORKS`.
      traits: a `names.Traits`.
      values: our name -> array.
    Returns:
      Their name -> array, in the order of `values`.
    """
    tensors, halves = {}, {}
    for name, value in values.items():
        target = theirs(system, name, traits)
        half = name.split("/")[-2]
        if half in ("theta_score", "phi_score"):
            pair = halves.setdefault(target, {})
            pair[half] = value.reshape(-1)
            tensors[target] = np.concatenate([
                pair[each] for each in ("theta_score", "phi_score")
                if each in pair]).reshape(1, -1, 1, 1)
            continue
        tensors[target] = to_theirs(
            name, value, _their_shape(system, network, name, value.shape))
        if system == "mmaction2" and name.endswith("/moving_variance"):
            tensors[target.replace("running_var", "num_batches_tracked")] = (
                np.zeros([], np.int64))
    return tensors


def _their_shape(system, network, name, shape):
    """Of a kernel in their layout; of anything else ours."""
    layer, parameter = name.split("/")[-2:]
    if parameter != "kernel":
        return shape
    if layer == "dense":
        return shape[::-1]
    if name.startswith("stem/"):
        sides, taps, inputs = shape[:2], shape[2] // 3, 3
    elif shape[1] == 1 and shape[0] > 1:
        sides, taps, inputs = (1, 1), shape[0], shape[2]
    else:
        sides, taps, inputs = shape[:2], 1, shape[2]
    flat = system == "mmaction2" and network != "i3d" and (
        "/non_local_" not in name)
    return (shape[3], inputs) + (() if flat else (taps,)) + tuple(sides)
