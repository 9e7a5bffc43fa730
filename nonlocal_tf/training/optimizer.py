"""From gradients to a step: rate, decay, limit, and the optimizer."""

import math

import tensorflow as tf

tf1 = tf.compat.v1

_WARM_UP_FROM = 0.1             # of the rate


def make(config, rate):
    """TensorFlow's optimizer for a `TrainConfig`.

    Args:
      rate: of learning, a number or a scalar.
    """
    if config.optimizer == "adam":
        return tf1.train.AdamOptimizer(rate)
    row = config.training()
    return tf1.train.MomentumOptimizer(
        rate, row.momentum, use_nesterov=row.nesterov)


def learning_rate(config, step, total_steps):
    """Rate of the step after `step` ones.

    Args:
      config: a `TrainConfig`.
      step: int64 scalar.
      total_steps: of --epoch epochs.
    Returns:
      A number, or a float32 scalar.
    """
    done = tf.cast(step, tf.float32) if (
        config.lr_schedule != "constant" or config.warmup_epochs) else None
    rate = config.learning_rate
    if config.lr_schedule == "cosine":
        share = done / float(total_steps)
        rate = rate * 0.5 * (
            1.0 + tf.cos(math.pi * tf.minimum(share, 1.0)))
    elif config.lr_schedule == "step":
        for share in config.lr_shares():
            rate *= tf.where(done < round(share * total_steps), 1.0, 0.1)
    if config.warmup_epochs:
        steps = total_steps / config.epoch * config.warmup_epochs
        rate *= tf.minimum(
            1.0, _WARM_UP_FROM + (1.0 - _WARM_UP_FROM) * done / steps)
    return rate


def adjusted(config, gradients, variables, head):
    """Gradients as the optimizer is to have them.

    Their global norm is limited, decay is added, and both are multiplied by
    the variable's own factor of the rate, which for SGD is the same.

    Args:
      config: a `TrainConfig`.
      gradients, variables: of the same order.
      head: names of the classifier's variables.
    """
    row = config.training()
    if config.clip_norm:
        gradients, _ = tf.clip_by_global_norm(gradients, config.clip_norm)
    result = []
    for gradient, variable in zip(gradients, variables):
        kind = kind_of(variable)
        if config.weight_decay and kind in row.decays:
            gradient += config.weight_decay * variable.read_value()
        factor = (row.bias_rate if kind == "biases" else 1.0) * (
            row.head_rate if variable.op.name in head else 1.0)
        result.append(gradient if factor == 1 else gradient * factor)
    return result


def kind_of(variable):
    """"norms" (scales and shifts), "biases" or "weights"."""
    name = variable.op.name.rpartition("/")[2]
    if name in ("gamma", "beta"):
        return "norms"
    return "biases" if name == "bias" else "weights"
