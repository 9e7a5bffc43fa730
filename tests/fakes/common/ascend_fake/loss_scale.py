"""The two loss scale managers (ascend.md 1.5)."""

import tensorflow as tf

from ascend_fake.errors import refuse

tf1 = tf.compat.v1


class LossScaleManager:
    """What NPULossScaleOptimizer asks for."""

    def get_loss_scale(self):
        raise NotImplementedError

    def update_loss_scale(self, finite):
        raise NotImplementedError


class FixedLossScaleManager(LossScaleManager):
    """One scale for the whole run."""

    def __init__(self, loss_scale):
        if loss_scale < 1:
            raise ValueError("loss scale must be at least 1")
        self._loss_scale = loss_scale

    def get_loss_scale(self):
        return tf.constant(self._loss_scale, tf.float32)

    def update_loss_scale(self, finite):
        return tf.no_op()


class ExponentialUpdateLossScaleManager(LossScaleManager):
    """Larger after many good steps, smaller after some bad ones."""

    def __init__(self, init_loss_scale, incr_every_n_steps,
                 decr_every_n_nan_or_inf=2, incr_ratio=2, decr_ratio=0.8):
        if tf1.get_default_graph()._current_control_dependencies():
            refuse("a loss scale manager inside control_dependencies: its "
                   "variables' start values would depend on them", "1.5")
        self._every, self._up = incr_every_n_steps, incr_ratio
        self._after, self._down = decr_every_n_nan_or_inf, decr_ratio
        self._loss_scale = _variable(
            "loss_scale", init_loss_scale, tf.float32)
        self._good_steps = _variable("good_steps", 0, tf.int32)
        self._bad_steps = _variable("bad_steps", 0, tf.int32)

    def get_loss_scale(self):
        return tf.identity(self._loss_scale)

    def update_loss_scale(self, finite):
        scale = tf.identity(self._loss_scale)
        good, bad = self._good_steps + 1, self._bad_steps + 1
        grows = tf.logical_and(finite, good >= self._every)
        shrinks = tf.logical_and(
            tf.logical_not(finite), bad >= self._after)
        larger = scale * self._up
        larger = tf1.where(tf1.is_finite(larger), larger, scale)
        smaller = tf.maximum(1.0, scale * self._down)
        new_scale = tf1.where(
            grows, larger, tf1.where(shrinks, smaller, scale))
        still = tf.zeros_like(good)
        changes = tf.logical_or(grows, shrinks)
        new_good = tf1.where(
            tf.logical_or(changes, tf.logical_not(finite)), still, good)
        new_bad = tf1.where(changes, still, tf1.where(finite, bad - 1, bad))
        with tf.control_dependencies([new_scale, new_good, new_bad]):
            return tf.group(
                self._loss_scale.assign(new_scale),
                self._good_steps.assign(new_good),
                self._bad_steps.assign(new_bad))


def _variable(name, value, dtype):
    return tf1.Variable(
        tf.constant(value, dtype), trainable=False, name=name,
        use_resource=True)
