"""First weights from another run's checkpoint, or from converted ones."""

import os

import tensorflow as tf

from nonlocal_tf import trained
from nonlocal_tf.command import some
from nonlocal_tf.data.class_names import normalised
from nonlocal_tf.errors import UserError
from nonlocal_tf.training.checkpoint_files import steps_in

tf1 = tf.compat.v1

_SAID = ("network", "protocol", "resnet_size", "instantiation", "inner_ratio",
         "scale", "sub_sample", "block", "frames", "frame_interval")
_SLOTS = ("/Adam", "/Adam_1", "/Momentum")


def load(session, network, config, class_names, report):
    """Gives a network's variables the values of --init, where it has them.

    The classifier begins anew if it has other classes, and so do blocks that
    the checkpoint lacks; everything else must be there.

    Args:
      session: with first values of all variables.
      network: a `tf.Module`.
      config: a `TrainConfig`; without --init nothing is done.
      class_names: of the training data, or ().
      report: a `Reporter`.
    Raises:
      UserError: there is no such checkpoint, or it is of another network.
    """
    if not config.init:
        return
    found, stored = _read(config.init)
    shapes = {name: list(value.shape) for name, value in stored.items()}
    wanted = {each.op.name: each for each in network.variables}
    other_head = class_names and found.class_names and (
        list(map(normalised, class_names))
        != list(map(normalised, found.class_names)))
    loaded, new, wrong = [], [], []
    for name, each in wanted.items():
        if other_head and "/dense/" in name:
            new.append(name)
        elif shapes.get(name) == each.shape.as_list():
            loaded.append(name)
        elif "/dense/" in name or name not in stored and (
                "/non_local_" in name):
            new.append(name)
        else:
            wrong.append("{} is {}, not {}".format(
                name, shapes.get(name, "missing"), each.shape.as_list()))
    if wrong or found.config.frozen_norm != config.frozen_norm:
        raise UserError(
            "--init {!r} must be of the same network{}: {}{}. Give its flags "
            "(--network {} --resnet_size {} --base_width {} --frozen_norm {}),"
            " or convert weights anew (python -m nonlocal_tf.convert).".format(
                found.prefix, "; {} tensors differ".format(len(wrong))
                if wrong else "", "; ".join(wrong[:3])
                or "its norms are frozen" * bool(found.config.frozen_norm)
                or "its norms are not frozen", "; ..." * (len(wrong) > 3),
                found.config.network, found.config.resnet_size,
                found.config.base_width, found.config.frozen_norm))
    trained.assign(session, wanted, {name: stored[name] for name in loaded})
    report.lines(_lines(found, config, loaded, new, sorted(
        name for name in stored if name not in wanted
        and name.startswith(network.name_scope.name)
        and not name.endswith(_SLOTS))))


def find(init):
    """The `trained.Checkpoint` that --init names.

    Raises:
      UserError: there is none.
    """
    is_run = os.path.isdir(init)
    if is_run and not steps_in(os.path.join(init, "Model")):
        raise UserError(
            "--init must name a checkpoint, or the folder of a run or of "
            "converted weights; {!r} has none in Model{}.".format(
                init, ". Did you mean --init {}?".format(
                    os.path.dirname(init.rstrip("/")) or ".")
                if steps_in(init) else ""))
    try:
        return trained.find(init) if is_run else trained.find("", init)
    except UserError as error:
        raise UserError("--init {!r}: {}".format(init, error))


def _read(init):
    """The `trained.Checkpoint`, and name -> array of all that it holds."""
    found = find(init)
    try:
        reader = tf1.train.load_checkpoint(found.prefix)
        return found, {name: reader.get_tensor(name)
                       for name in reader.get_variable_to_shape_map()}
    except (tf.errors.OpError, ValueError, IndexError) as error:
        raise UserError("--init {!r} must be a whole checkpoint; it is cut "
                        "short or damaged ({}). Copy it again.".format(
                            init, type(error).__name__))


def _lines(found, config, loaded, new, skipped):
    lines = ["First weights from {}: {} tensors loaded, {} skipped, {} new"
             .format(found.prefix, len(loaded), len(skipped), len(new))]
    lines += ["  {}: {}".format(word, some(names, 4)) for word, names in (
        ("new", new), ("skipped", skipped)) if names]
    changed = ["{} {} (now {})".format(
        name, getattr(found.config, name), getattr(config, name))
        for name in _SAID
        if getattr(found.config, name) != getattr(config, name)]
    return lines + (["  it was made with {}".format(", ".join(changed))]
                    if changed else [])
