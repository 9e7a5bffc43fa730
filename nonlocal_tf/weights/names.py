"""What the known systems call the variables of `VideoResNet`, as one table.

A system's row gives a name for each part of the network. In it `{s}` is the
stage, 2 to 5, `{l}` that less one, `{i}` the bottleneck from 0, `{b}` Paddle's
letter for it; the others are there where a `Traits` has what they stand for.
"""

import re
from typing import NamedTuple

import numpy as np


class System(NamedTuple):
    """How a system spells a part, and the parameters of convs and norms.

    parts: our part -> its name, which ends where a parameter's name begins.
    conv, norm: our parameter -> its ending.
    dense: as conv, of the classifier. input_major: the classifier's kernel is
    [C, classes] where it has two axes.
    """

    parts: dict
    conv: dict
    norm: dict
    dense: dict
    input_major: bool = False


_TORCH_NORM = {"gamma": ".weight", "beta": ".bias",
               "moving_mean": ".running_mean",
               "moving_variance": ".running_var"}
_TORCH = {"kernel": ".weight", "bias": ".bias"}
_CAFFE = {"kernel": "_w", "bias": "_b"}
_MIND_NORM = {name: ".features.1.bn2d." + name for name in (
    "gamma", "beta", "moving_mean", "moving_variance")}


# What a run keeps beside its weights.
IGNORED = re.compile(
    r"(_momentum|_sm|_siv|\.num_batches_tracked|@LR_DECAY_COUNTER@)$|"
    r"^(lr|model_iter|epoch|velocity|momentum|moments|learning_rate|"
    r"global_step|current_iterator_step|last_overflow_iterator_step)\b|"
    r"^data_preprocessor\.")


class Traits(NamedTuple):
    """What decides how a network's tensors are called.

    shift: bottlenecks shift channels; wrapped, mmaction2 calls them
    otherwise. alternate: every other one does. pooled: blocks pool their
    keys. placement: of the blocks. grouped: res3's attend in groups. affine:
    the blocks' norms are scales and shifts. numbered: res4's bottlenecks are
    a, b1, b2.
    """

    placement: dict
    shift: bool = False
    alternate: bool = False
    pooled: bool = True
    grouped: bool = False
    affine: bool = False
    numbered: bool = False


_BLOCK = "nonlocal_conv{s}{group}_{i}_"


def _as_the_authors(bottleneck, norm_of, **more):
    """Parts as the authors' code and Paddle's after it call them.

    Args:
      bottleneck: how the names of its convolutions begin.
      norm_of: the name of a convolution's norm from that of the convolution.
      more: other parts.
    """
    parts = dict(more, stem="conv1", dense="pred", norm=_BLOCK + "bn")
    for name in ("theta", "phi", "g", "out"):
        parts[name] = _BLOCK + name
    for conv, norm, ending in (
            ("conv1", "norm1", "branch2a"), ("conv2", "norm2", "branch2b"),
            ("conv3", "norm3", "branch2c"),
            ("shortcut", "shortcut_norm", "branch1")):
        parts[conv] = bottleneck + ending
        parts[norm] = norm_of(parts[conv])
    return parts


_MM = "backbone.layer{l}.{i}{block}."
_MM_BLOCK = "backbone.layer{l}.{i}.non_local_block."
_MS = "backbone.layer{l}.{i}."

SYSTEMS = {
    "caffe2": System(
        _as_the_authors("res{s}_{i}_", lambda conv: conv + "_bn",
                        stem_norm="res_conv1_bn"),
        _CAFFE, {"gamma": "_s", "beta": "_b", "moving_mean": "_rm",
                 "moving_variance": "_riv"}, _CAFFE),
    "paddle": System(
        _as_the_authors("res{s}{b}_", lambda conv: conv.replace("res", "bn", 1),
                        stem_norm="bn_conv1", affine=_BLOCK + "affine"),
        {"kernel": "_weights", "bias": "_b"},
        {"gamma": "_scale", "beta": "_offset", "moving_mean": "_mean",
         "moving_variance": "_variance"}, _CAFFE, input_major=True),
    "mmaction2": System(
        {"stem": "backbone.conv1.conv", "stem_norm": "backbone.conv1.bn",
         "conv1": _MM + "conv1.conv{net}", "norm1": _MM + "conv1.bn",
         "conv2": _MM + "conv2.conv", "norm2": _MM + "conv2.bn",
         "conv3": _MM + "conv3.conv", "norm3": _MM + "conv3.bn",
         "shortcut": _MM + "downsample.conv",
         "shortcut_norm": _MM + "downsample.bn",
         "theta": _MM_BLOCK + "theta.conv",
         "phi": _MM_BLOCK + "phi{pool}.conv", "g": _MM_BLOCK + "g{pool}.conv",
         "out": _MM_BLOCK + "conv_out.conv",
         "norm": _MM_BLOCK + "conv_out.bn",
         "scores": _MM_BLOCK + "concat_project.conv",
         "dense": "cls_head.fc_cls"}, _TORCH, _TORCH_NORM, _TORCH),
    "torchvision": System(
        {"stem": "conv1", "stem_norm": "bn1",
         "conv1": "layer{l}.{i}.conv1", "norm1": "layer{l}.{i}.bn1",
         "conv2": "layer{l}.{i}.conv2", "norm2": "layer{l}.{i}.bn2",
         "conv3": "layer{l}.{i}.conv3", "norm3": "layer{l}.{i}.bn3",
         "shortcut": "layer{l}.{i}.downsample.0",
         "shortcut_norm": "layer{l}.{i}.downsample.1", "dense": "fc"},
        _TORCH, _TORCH_NORM, _TORCH),
    "mindspore": System(
        {"stem": "backbone.conv1", "stem_norm": "backbone.conv1",
         "conv1": _MS + "conv12.conv1", "norm1": _MS + "conv12.conv1",
         "conv2": _MS + "conv12.conv2", "norm2": _MS + "conv12.conv2",
         "conv3": _MS + "conv3", "norm3": _MS + "conv3",
         "shortcut": _MS + "down_sample", "shortcut_norm": _MS + "down_sample",
         "theta": _MS + "non_local_block.theta",
         "phi": _MS + "non_local_block.phi{pool}",
         "g": _MS + "non_local_block.g{pool}",
         "out": _MS + "non_local_block.w.0",
         "norm": _MS + "non_local_block.w.1",
         "scores": _MS + "non_local_block.concat_project.0",
         "dense": "head.dense"},
        {"kernel": ".features.0.weight", "bias": ".features.0.bias"},
        _MIND_NORM, _TORCH),
}


def theirs(system, ours, traits):
    """Their name of a variable; None where the system has no such part.

    Args:
      system: a key of `SYSTEMS`.
      ours: its name below the network, such as "res2/bottleneck_0/conv1/
        kernel".
      traits: a `Traits`.
    """
    row = SYSTEMS[system]
    *scope, part, parameter = ours.split("/")
    in_block = len(scope) > 1 and scope[1].startswith("non_local")
    fields = {}
    if scope == ["stem"]:
        part = "stem" if part == "conv" else "stem_norm"
    elif scope:
        fields = place(scope, traits)
    if part.endswith("_score"):
        part = "scores"
    endings = row.norm if "norm" in part else row.conv
    if system == "paddle" and part == "norm" and traits.affine:
        part, endings = "affine", {"gamma": "_s", "beta": "_b"}
    elif part == "dense" or system == "paddle" and in_block and (
            part != "norm"):
        endings = row.dense
    elif system == "mindspore" and in_block:    # without `features`
        endings = dict(row.dense, **{
            name: ending.replace(".features.1", "")
            for name, ending in row.norm.items()})
    if part not in row.parts or parameter not in endings:
        return None
    return row.parts[part].format(**fields) + endings[parameter]


def place(scope, traits):
    """What stands for the fields of a name below ("res3", "non_local_1")."""
    stage, index = int(scope[0][3:]), int(scope[1].rpartition("_")[2])
    shifted = traits.shift and not (traits.alternate and index % 2)
    letter = chr(ord("a") + index)
    if traits.numbered and stage == 4 and index:
        letter = "b{}".format(index)
    return {
        "s": stage, "l": stage - 1, "i": index, "b": letter,
        "net": ".net" if shifted else "",
        "block": ".block" if traits.shift and index in traits.placement.get(
            "res{}".format(stage), ()) else "",
        "pool": ".0" if traits.pooled else "",
        "group": "_group" if traits.grouped and stage == 3 else ""}


def to_ours(name, value, shape, input_major=False):
    """A tensor of theirs as our variable has it.

    Kernels are [O, I, t, h, w] or [O, I, h, w] there. A kernel without frames
    for one of ours with t taps is copied to each and divided by t, which
    leaves a still clip's answer as it is (paper, Sec. 4.1).

    Args:
      name: ours.
      value: an array.
      shape: of our variable, a list.
      input_major: see `System`.
    Returns:
      The array, of whatever shape comes out; compare it with `shape`.
    """
    layer, parameter = name.split("/")[-2:]
    if parameter != "kernel":
        return value.reshape(-1) if value.ndim != 1 and (
            value.size == max(value.shape)) else value
    if layer == "dense":
        if value.ndim == 2:
            return value if input_major else value.T
        return value.reshape(value.shape[:2]).T
    if layer in ("theta_score", "phi_score"):           # halves of one
        half = value.shape[1] // 2
        value = value[:, :half] if layer[0] == "t" else value[:, half:]
    if value.ndim < 4:
        return value
    is_stem = name.startswith("stem/")
    taps = shape[2] // 3 if is_stem else shape[0] if layer == "conv1" else 1
    if value.ndim == 4:
        value = np.repeat(value[:, :, None], taps, 2) / np.float32(taps)
    if is_stem:
        value = value.transpose(3, 4, 2, 1, 0)          # [7, 7, t, 3, C]
        return value.reshape(value.shape[:2] + (-1,) + value.shape[4:])
    value = value.transpose(2, 3, 4, 1, 0)              # [t, h, w, I, O]
    return value[:, 0] if taps > 1 else value[0] if (
        value.shape[0] == 1) else value


def to_theirs(name, value, like):
    """The reverse of `to_ours`, for a tensor of shape `like` of theirs."""
    layer, parameter = name.split("/")[-2:]
    if parameter != "kernel":
        return value.reshape(like)
    if layer == "dense":
        return value.T.reshape(like)
    outputs = value.shape[-1]
    if name.startswith("stem/"):
        value = value.reshape(value.shape[:2] + (-1, 3, outputs))
        value = value.transpose(4, 3, 2, 0, 1)
    elif layer == "conv1" and value.shape[1] == 1 and value.shape[0] > 1:
        value = value.transpose(3, 2, 0, 1)[..., None]
    else:
        value = value.transpose(3, 2, 0, 1)
    return np.ascontiguousarray(value.reshape(like))


