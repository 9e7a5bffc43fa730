"""Checkpoints of converted weights, as a run's own of step 0."""

import os

import tensorflow as tf

from nonlocal_tf import tasks, trained
from nonlocal_tf.errors import UserError
from nonlocal_tf.layers import variable
from nonlocal_tf.training.checkpoint import CheckpointFolder, describe
from nonlocal_tf.training.progress import Progress

tf1 = tf.compat.v1


def shapes(config):
    """Our variables of a `TrainConfig`'s network: name -> shape."""
    with tf.Graph().as_default():
        return {name: variable.shape.as_list()
                for name, variable in _variables(config).items()}


def write(config, values, more):
    """Writes a checkpoint of step 0; returns its prefix.

    Args:
      config: a `TrainConfig`.
      values: our name -> array; what is missing keeps its start.
      more: what its note has beside a run's.
    """
    folder = CheckpointFolder(os.path.join(config.train_url, "Model"))
    note = describe(config, 0, config.fixed_settings(), Progress(), **more)
    with tf.Graph().as_default(), tf1.Session() as session:
        tf1.set_random_seed(config.seed)
        variables = _variables(config)
        variable(tf.zeros([], tf.int64), "global_step", trainable=False)
        session.run(tf1.global_variables_initializer())
        trained.assign(session, variables, values)
        folder.save(session, tf1.train.Saver(), 0, note)
    return folder.prefix(0)


def find(train_url):
    """The newest `trained.Checkpoint` of a folder, of a network of clips."""
    found = trained.find(train_url)
    if found.config.network == "digits":
        raise UserError("--train_url must have a network of clips; {!r} is of "
                        "the digits' network.".format(found.prefix))
    return found


def read(train_url):
    """The config and the values, by our names, of a folder's newest one."""
    found = find(train_url)
    with tf.Graph().as_default():
        names = {name: variable.op.name
                 for name, variable in _variables(found.config).items()}
    reader = tf1.train.load_checkpoint(found.prefix)
    return found.config, {
        name: reader.get_tensor(stored) for name, stored in names.items()}


def _variables(config):
    """The network's variables by their names below it."""
    network = tasks.make_network(config)
    prefix = network.name_scope.name
    return {each.op.name[len(prefix):]: each for each in network.variables}
