"""The graph of a training run: one network, a training and a test tower."""

import contextlib
import functools

import numpy as np
import tensorflow as tf

from nonlocal_tf import health, tasks
from nonlocal_tf.layers import (
    statistics_across,
    variable,
    warm_up_momentum,
)
from nonlocal_tf.training import optimizer
from nonlocal_tf.training.gradients import by_matrix_product

tf1 = tf.compat.v1


class TrainGraph:
    """Builds the training graph into the default graph.

    Batch sizes are static, since an NPU compiles for each shape. Both towers
    read the same variables. Where a step takes several parts, `accumulate`
    takes all but the last, which `train_op` takes; gradients and loss are
    means over equal parts, as of the whole batch, but for batch norm, which
    sees each part by itself.

    Args:
      config: a `TrainConfig`; auto takes the batch as one part here.
      total_steps: steps of the whole run, over which a cosine falls.
      platform: a `Platform` of `nonlocal_tf.platforms`.

    Attributes:
      images: placeholder, uint8 [P, S, S, 1], or [P, T, S, S, 3] of clips; P is
        the size of a part, and of the batch where a step has one part.
      labels: placeholder, int32 [P].
      parts: B / P, of each step.
      step: variable, int64 scalar: steps done.
      accumulate: operation: a part's gradients and sums are kept; batch
        norm's statistics move.
      train_op: one step of the optimizer, of batch norm's statistics and of
        `step`.
      totals: float32 [4], over all processes: mean cross entropy of the step
        in training mode, images classified right, and the sums of `wishes`.
      wishes: placeholder, float32 [2], 0 where it is not fed: whether this
        process wants to stop, and to save, after the step.
      test_losses, test_predictions: float32 [P] and int32 [P], in inference
        mode.
      attention: float32 [blocks, images, 4]; see `health.measure`.
      addends, sums: placeholder, float32 [4], and its sum over all processes.
      start, agreed_start: placeholder, int32 [4], and what rank 0 fed.
      set_step, take_over: operations: `step` becomes `start[0]`; every other
        variable becomes that of rank 0.
      average_statistics: operation: batch norm's moving statistics become
        their means over all processes, each of which has its own.
      weights_norm: float32 scalar, not finite if any weight is not.
      initialize, prepare: operations: first values of every variable; of
        those that no checkpoint holds.
      saver: of every variable, the optimizer's included.
    """

    def __init__(self, config, total_steps, platform):
        tf1.set_random_seed(config.seed)
        size = config.part_size() or config.batch_size
        self.parts = config.batch_size // size
        shape = tasks.of(config).input_shape(config, size)
        self.images = tf1.placeholder(tf.uint8, shape, "images")
        self.labels = tf1.placeholder(tf.int32, shape[:1], "labels")
        self.step = variable(
            tf.zeros([], tf.int64), "global_step", trainable=False)
        self.network = tasks.make_network(
            config, self._momentum(), platform.device,
            lambda: self._seed(config, platform))
        self._kept, self._part = [], None
        self._build_training(config, total_steps, platform)
        self._build_test()
        self._build_agreement(config, platform)
        self.weights_norm = tf.linalg.global_norm(
            self.network.trainable_variables)
        self.initialize = tf1.global_variables_initializer()
        self.prepare = tf1.variables_initializer(self._kept)
        self.saver = tf1.train.Saver(
            tf1.global_variables(), max_to_keep=0)     # checkpoint.py prunes

    def feeds(self, images, labels):
        """Of a step, B images and labels: one dict for each part."""
        feeds = [{self.images: part, self.labels: part_labels}
                 for part, part_labels in zip(np.split(images, self.parts),
                                              np.split(labels, self.parts))]
        if self._part is not None:
            for index, feed in enumerate(feeds):
                feed[self._part] = index
        return feeds

    def _seed(self, config, platform):
        """Of dropout: int64 [2], of the part of the step of the process.

        Made when it is first used; see `_momentum`.
        """
        self._part = tf1.placeholder_with_default(
            tf.zeros([], tf.int64), [], "part")
        index = self.step.read_value() * self.parts + self._part
        return tf.stack([tf.constant(config.seed, tf.int64),
                         index * platform.size + platform.rank])

    def _momentum(self):
        """Of batch norm; in parts it moves as far in a step as in one.

        The root is made when it is first used, after all variables: their
        random values go by the number of operations before them.
        """
        momentum = warm_up_momentum(self.step)
        if self.parts == 1:
            return momentum
        return functools.lru_cache(maxsize=None)(
            lambda: momentum ** (1.0 / self.parts))

    def _build_training(self, config, total_steps, platform):
        loss, correct = self._build_tower(config, platform)
        wrapped = platform.wrap_optimizer(optimizer.make(
            config, optimizer.learning_rate(config, self.step, total_steps)))
        pairs = wrapped.compute_gradients(
            loss, self.network.trainable_variables)
        variables = [variable for _, variable in pairs]
        values = [gradient for gradient, _ in pairs] + [loss, correct]
        updates = tf1.get_collection(tf1.GraphKeys.UPDATE_OPS)
        self.accumulate = tf.no_op()
        if self.parts > 1:
            values = self._accumulated(values, updates)
        gradients, loss, correct = (
            platform.mean_over_ranks(values[:-2]), values[-2], values[-1])
        self.wishes = tf1.placeholder_with_default([0.0, 0.0], [2], "wishes")
        self.totals = platform.sum_over_ranks(tf.concat(
            [[loss / platform.size, correct], self.wishes], 0))
        # One edge to each of hundreds of operations, not one of each update.
        with tf.control_dependencies([tf.group(*updates)]):
            # A list: the adapter's loss scale walks over it twice.
            applied = wrapped.apply_gradients(list(zip(
                optimizer.adjusted(config, gradients, variables, {
                    each.op.name for each in self.network.dense.variables}),
                variables)))
        # A step that a loss scale skips is one nevertheless: the next has
        # other images. `totals` is read before what was kept is cleared.
        done = [applied, self.totals] if self._kept else [applied]
        with tf.control_dependencies(done):
            self.train_op = tf.group(
                tf1.assign_add(self.step, tf.ones([], tf.int64)),
                *[tf1.assign(kept, tf.zeros_like(kept))
                  for kept in self._kept])

    def _build_tower(self, config, platform):
        """Mean cross entropy and the number of right ones, in training."""
        with contextlib.ExitStack() as stack:
            if platform.device == "CPU":
                stack.enter_context(by_matrix_product(config.plain))
            if config.sync_batch_norm and platform.size > 1:
                stack.enter_context(statistics_across(
                    platform.sum_over_ranks, platform.rank, platform.size))
            logits = self.network(self.images, is_training=True)
        return mean_loss(logits, self.labels, config.label_smoothing), (
            tf.reduce_sum(tf.cast(
                tf.equal(_classes(logits), self.labels), tf.float32)))

    def _accumulated(self, values, updates):
        """Means over a step's parts of gradients and loss; the last, a sum.

        What is kept of earlier parts is in local variables, which no
        checkpoint holds: it ends between two steps.
        """
        self._kept = [variable(
            tf.zeros(value.shape), "kept_{}".format(index), trainable=False,
            collections=[tf1.GraphKeys.LOCAL_VARIABLES])
            for index, value in enumerate(values)]
        self.accumulate = tf.group(*updates + [
            tf1.assign_add(kept, value)
            for kept, value in zip(self._kept, values)])
        sums = [kept.read_value() + value
                for kept, value in zip(self._kept, values)]
        return [each / self.parts for each in sums[:-1]] + [sums[-1]]

    def _build_test(self):
        watched = []
        logits = self.network(self.images, is_training=False, watch=watched)
        self.attention = health.measure(watched)
        self.test_losses = _cross_entropy(logits, self.labels)
        self.test_predictions = _classes(logits)

    def _build_agreement(self, config, platform):
        """What processes tell each other besides gradients."""
        self.addends = tf1.placeholder(tf.float32, [4], "addends")
        self.sums = platform.sum_over_ranks(self.addends)
        self.start = tf1.placeholder(tf.int32, [4], "start")
        self.agreed_start = platform.sum_over_ranks(
            self.start if platform.rank == 0 else tf.zeros_like(self.start))
        self.set_step = tf1.assign(
            self.step, tf.cast(self.start[0], tf.int64)).op
        self.take_over = platform.broadcast([
            each for each in tf1.global_variables() if each is not self.step])
        self.average_statistics = self._averaging(config, platform)

    def _averaging(self, config, platform):
        """One sum over all processes for all statistics."""
        if platform.size == 1 or config.sync_batch_norm:
            return tf.no_op()
        statistics = [each for each in self.network.variables
                      if "/moving_" in each.op.name]
        sums = platform.sum_over_ranks(tf.concat(
            [each.read_value() for each in statistics], 0))
        means = tf.split(sums / platform.size, [
            each.shape.as_list()[0] for each in statistics])
        return tf.group(*map(tf1.assign, statistics, means))


def mean_loss(logits, labels, smoothing=0.0):
    """Mean cross entropy; a share of each label is all classes' alike."""
    loss = tf.reduce_mean(_cross_entropy(logits, labels))
    if not smoothing:
        return loss
    even = tf.reduce_mean(tf.reduce_logsumexp(logits, 1)
                          - tf.reduce_mean(logits, 1))
    return (1.0 - smoothing) * loss + smoothing * even


def _cross_entropy(logits, labels):
    """[B, classes], [B] -> [B], in nats."""
    return tf.nn.sparse_softmax_cross_entropy_with_logits(
        labels=labels, logits=logits)


def _classes(logits):
    """The class with the highest score: [B, classes] -> int32 [B]."""
    return tf.argmax(logits, 1, output_type=tf.int32)
