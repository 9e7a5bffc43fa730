"""NPUDistributedOptimizer and NPULossScaleOptimizer (ascend.md 1.5)."""

import os

import tensorflow as tf

from ascend_fake import environment, hccl_ops, session
from ascend_fake.errors import refuse
from ascend_fake.loss_scale import LossScaleManager

tf1 = tf.compat.v1


class _Wrapper(tf1.train.Optimizer):
    """An optimizer that leaves the update to another one."""

    def __init__(self, optimizer, name):
        if not isinstance(optimizer, tf1.train.Optimizer):
            refuse("{} wraps a tf.compat.v1.train.Optimizer, not {!r}".format(
                name, optimizer), "1.5")
        super().__init__(use_locking=False, name=name)
        self._wrapped = optimizer

    def compute_gradients(self, *arguments, **keywords):
        return self._wrapped.compute_gradients(*arguments, **keywords)

    def apply_gradients(self, *arguments, **keywords):
        return self._wrapped.apply_gradients(*arguments, **keywords)


class NPUDistributedOptimizer(_Wrapper):
    """The mean of each gradient over all ranks; one rank: no effect."""

    def __init__(self, optimizer, is_weight_update_sharding=False, name=None):
        super().__init__(optimizer, name or "NPUDistributedOptimizer")
        if is_weight_update_sharding:
            refuse("is_weight_update_sharding is not in the fake", "1.5")

    def compute_gradients(self, *arguments, **keywords):
        pairs = self._wrapped.compute_gradients(*arguments, **keywords)
        if environment.rank_size() == 1:
            return pairs
        if not os.environ.get("JOB_ID"):
            refuse("RANK_SIZE > 1 needs JOB_ID", "1.5")
        given = [pair for pair in pairs if pair[0] is not None]
        for gradient, variable in given:
            if isinstance(gradient, tf.IndexedSlices):
                refuse("the gradient of {} is sparse".format(variable.name),
                       "1.5")
        means = iter(hccl_ops.collective(
            "HcomGradients", "mean", [gradient for gradient, _ in given],
            (tf.float32, tf.float16)))
        return [(None if gradient is None else next(means), variable)
                for gradient, variable in pairs]


class NPULossScaleOptimizer(_Wrapper):
    """Scales the loss; leaves a step out whose gradients overflowed."""

    def __init__(self, opt, loss_scale_manager, is_distributed=False):
        super().__init__(opt, "NPULossScaleOptimizer")
        if not isinstance(loss_scale_manager, LossScaleManager):
            refuse("{!r} is no loss scale manager".format(
                loss_scale_manager), "1.5")
        if environment.rank_size() > 1 and not is_distributed:
            refuse("RANK_SIZE > 1 needs is_distributed=True: the ranks must "
                   "leave out the same steps", "1.5")
        self._manager = loss_scale_manager
        self._is_distributed = is_distributed

    def compute_gradients(self, loss, *arguments, **keywords):
        if callable(loss):
            refuse("the loss is a tensor, not a function", "1.5")
        scale = self._manager.get_loss_scale()
        pairs = self._wrapped.compute_gradients(
            loss * tf.cast(scale, loss.dtype), *arguments, **keywords)
        return [(None if gradient is None
                 else gradient / tf.cast(scale, gradient.dtype), variable)
                for gradient, variable in pairs]

    def apply_gradients(self, grads_and_vars, global_step=None, name=None):
        # As the real one: an iterator is empty when it is passed on.
        finite = self._all_finite([
            gradient for gradient, _ in grads_and_vars if gradient is not None])
        update = tf1.cond(
            finite, lambda: self._wrapped.apply_gradients(
                grads_and_vars, global_step, name), tf.no_op)
        return tf.group(update, self._manager.update_loss_scale(finite))

    def _all_finite(self, gradients):
        finite = tf1.py_func(_float_status, [tf.reduce_all([
            tf.reduce_all(tf1.is_finite(gradient))
            for gradient in gradients])], tf.bool)
        finite.set_shape([])
        if not self._is_distributed:
            return finite
        lowest = hccl_ops.collective(
            "NpuFloatStatus", "min", [tf.cast(finite, tf.float32)],
            (tf.float32,))[0]
        return lowest > 0.5


def _float_status(finite):
    session.need_npu("NpuGetFloatStatus")
    return finite
