"""Layer by layer beside another system: where two networks part.

The other system writes a dump with a script of about 20 lines (`script`): a
.npz of `clip`, uint8 [B, T, H, W, 3], of `layer/NAME`, [B, C, T, H, W] or
[B T, C, H, W], and of `logits` or `probs`, [B, classes].
"""

import os

import numpy as np
import tensorflow as tf

from nonlocal_tf import tasks, trained
from nonlocal_tf.command import say
from nonlocal_tf.errors import UserError
from nonlocal_tf.tasks.video import check_clip
from nonlocal_tf.weights import checkpoints
from nonlocal_tf.weights.names import Traits, place

tf1 = tf.compat.v1

AGREE, DIFFER = 0, 1
# Of the largest value of a layer: float32 in another order, of 50 layers.
TOLERANCE = 1e-3
SYSTEMS = ("mmaction2", "caffe2", "paddle", "mindspore")

_NAMES = {
    "caffe2": {
        "stem": ["res_conv1_bn"], "pool1": ["pool1"], "pool2": ["pool2"],
        "bottleneck": ["res{s}_{i}_branch2c_bn"],
        "non_local": ["nonlocal_conv{s}_{i}_sum"]},
    "mmaction2": {
        "stem": ["backbone.conv1"],
        "pool1": ["backbone.maxpool", "backbone.maxpool3d_1"],
        "pool2": ["backbone.pool2", "backbone.maxpool3d_2"],
        # A layer's own output may be that of its block.
        "bottleneck": ["backbone.layer{l}.{i}.block",
                       "backbone.layer{l}.{i}.relu"],
        "non_local": ["backbone.layer{l}.{i}.non_local_block"]},
    "paddle": {
        "stem": ["res_conv1_bn_relu"], "pool1": ["pool1"], "pool2": ["pool2"],
        "bottleneck": ["res{s}{b}_sum"],
        "non_local": ["nonlocal_conv{s}_{i}_sum",
                      "nonlocal_conv{s}_group_{i}_sum"]},
    "mindspore": {
        "stem": ["backbone.conv1"], "pool1": ["backbone.maxpool"],
        "pool2": ["backbone.pool2"], "bottleneck": [],
        "non_local": ["backbone.layer{l}.{i}"]},
}


def layer_names(system, ours):
    """What a system may call a layer of `VideoResNet`, a list."""
    parts = ours.split("/")
    kind = parts[-1].rpartition("_")[0] or ours
    if len(parts) == 1:
        return _NAMES[system][ours]
    fields = place(parts, Traits({}))
    return [form.format(**fields) for form in _NAMES[system][kind]]


def compare(path, train_url):
    """Prints how far each layer of a dump is from ours.

    Args:
      path: of the dump.
      train_url: folder of our checkpoint.
    Returns:
      0: all agree; 1: some layer departs, and is named.
    Raises:
      UserError: the dump is none, or of another network.
    """
    dump = _read(path)
    found = checkpoints.find(train_url)
    ours, logits = _run(found, dump["clip"])
    rows = []
    for name, value in ours:
        theirs = next((dump["layer/" + each] for system in SYSTEMS
                       for each in layer_names(system, name)
                       if "layer/" + each in dump), None)
        if theirs is not None:
            rows.append(_row(name, value, _as_ours(theirs)))
    shares = np.exp(logits - logits.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    for key, value in (("logits", logits), ("probs", shares)):
        if key in dump:
            rows.append(_row(key, value, dump[key].reshape(
                len(dump[key]), -1)))
    if not rows:
        raise UserError(
            "{!r} must have layers by the other system's names, such as "
            "layer/{}; it has {}. Make it with --print_dump_script.".format(
                path, layer_names("mmaction2", "stem")[0],
                ", ".join(list(dump)[:5])))
    return _report(rows)


def _read(path):
    try:
        with np.load(path, allow_pickle=False) as file:
            dump = {name: file[name] for name in file.files}
    except Exception as error:          # whatever an archive can raise
        raise UserError("--compare must be a .npz file; {!r}: {}.".format(
            path, getattr(error, "strerror", None) or type(error).__name__))
    clip = dump.get("clip")
    if clip is None or clip.dtype != np.uint8 or clip.ndim != 5:
        raise UserError("{!r} must have `clip`, uint8 [B, T, H, W, 3]; it has "
                        "{}.".format(path, "none" if clip is None else "{} {}"
                                     .format(clip.dtype, list(clip.shape))))
    return dump


def _run(found, clip):
    """Our layers, pairs of a name and an array, and our logits."""
    check_clip("The dump's clip", clip[0], found.config)
    with tf.Graph().as_default(), tf1.Session() as session:
        network = tasks.make_network(found.config, device="CPU")
        layers = []
        logits = network(tf.constant(clip), is_training=False, layers=layers)
        trained.restore(session, list(network.variables), found.prefix)
        values, logits = session.run([[x for _, x in layers], logits])
    return list(zip([name for name, _ in layers], values)), logits


def _as_ours(value):
    """[B, C, T, H, W] or [B T, C, H, W] -> [B T, H, W, C]."""
    if value.ndim == 5:
        value = value.transpose(0, 2, 3, 4, 1)
        return value.reshape((-1,) + value.shape[2:])
    return value.transpose(0, 2, 3, 1) if value.ndim == 4 else value


def _row(name, ours, theirs):
    """Name, largest difference, largest value; None where shapes differ."""
    if ours.shape != theirs.shape:
        return name, None, "{}, there {}".format(
            list(ours.shape), list(theirs.shape))
    return name, float(np.abs(ours - theirs).max()), float(
        np.abs(theirs).max())


def _departs(row):
    return row[1] is None or not row[1] <= TOLERANCE * row[2] + 1e-6


def _report(rows):
    say("  {:20} {:>18} {:>14}".format("layer", "largest difference",
                                       "largest value"))
    for name, difference, largest in rows:
        if difference is None:
            say("  {:20} {:>18} {}".format(name, "another shape", largest))
        else:
            say("  {:20} {:>18.2e} {:>14.4g}".format(
                name, difference, largest))
    departing = [row for row in rows if _departs(row)]
    if not departing:
        say("All {} agree, within {:g} of a layer's largest value.".format(
            len(rows), TOLERANCE))
        return AGREE
    say("The first that departs is {}: look at its weights, and at the "
        "settings that begin there (mean, padding, pools, shift, scale, the "
        "form of the blocks).".format(departing[0][0]))
    return DIFFER


def script(system):
    """The text of the script for the other system.

    Raises:
      UserError: there is none for that system.
    """
    if system not in SYSTEMS:
        raise UserError("--print_dump_script must be {}; got {}.".format(
            ", ".join(SYSTEMS), system))
    path = os.path.join(os.path.dirname(__file__), "dumps", system + ".py.txt")
    with open(path, encoding="ascii") as file:
        return file.read().rstrip()
