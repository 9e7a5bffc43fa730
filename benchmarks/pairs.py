"""Two digits far apart, of one class or not: what a local network cannot tell.

On a dark canvas of 32 x 112 pixels stand two of the embedded digits, their
28x28 boxes at least 28 pixels apart. A shallow network sees 27 pixels at each
position, so none sees both; then the mean over positions and one linear layer
decide. Without a block its features are a sum of what each digit gives by
itself, f(a) + f(b), and w . (f(a) + f(b)) above a threshold for (a, a) and for
(b, b) is above it for (a, b) too. With one f a class that is right for 64 % of
balanced pairs at most: five classes whose pairs are all called alike, 0.5 *
5/10 + 0.5 * (1 - 10/45). A non-local block brings to a position what stands
elsewhere.
"""

import numpy as np
import tensorflow as tf

from benchmarks import ours
from nonlocal_tf import health
from nonlocal_tf.architecture import BLOCKS, DIGIT_SIZE, block_names
from nonlocal_tf.data import datasets
from nonlocal_tf.errors import UserError
from nonlocal_tf.layers import BatchNorm, Conv, Dense, warm_up_momentum
from nonlocal_tf.non_local import NonLocalBlock
from nonlocal_tf.training.optimizer import learning_rate

tf1 = tf.compat.v1

CANVAS = (32, 112)                      # rows and columns, in pixels
GAP = 28                                # columns, at least
_CHANNELS = 32
_STEPS = 45                             # of an epoch: 1,440 pairs of 32
_TEST_PAIRS = 2048
# Kernel and stride: 27 pixels, every 8.
LAYERS = ((7, 2), (3, 2), (3, 1), (3, 2))


def train(config):
    """Trains for config.epoch epochs; returns 0 and the figures.

    Args:
      config: a `TrainConfig`: dataset, epoch, batch_size, learning_rate,
        lr_schedule, seed; non_local "0" for no block, else for one of
        instantiation, block, scale, sub_sample, inner_ratio.
    Raises:
      UserError: a setting that it would ignore.
    """
    if config.augment or config.max_steps or config.precision != "float32":
        raise UserError("--task pairs has neither --augment nor --max_steps "
                        "nor another --precision. Leave them out.")
    data = datasets.load(config.dataset, config.data_folder(), config.mirrors())
    test = pairs(data.test_images, data.test_labels, _TEST_PAIRS,
                 np.random.RandomState([config.seed, 0, 1]))
    with tf.Graph().as_default(), tf1.Session(
            config=ours.session_config(config.threads)) as session:
        graph = _Graph(config, _STEPS * config.epoch)
        session.run(tf1.global_variables_initializer())
        losses = []
        for step in range(_STEPS * config.epoch):
            images, same = pairs(
                data.train_images, data.train_labels, config.batch_size,
                np.random.RandomState([config.seed, step + 1]))
            losses.append(session.run([graph.loss, graph.train_op], {
                graph.images: images, graph.same: same})[0])
        right = 0
        for start in range(0, _TEST_PAIRS, config.batch_size):
            part = slice(start, start + config.batch_size)
            right += int(session.run(graph.right, {
                graph.images: test[0][part], graph.same: test[1][part]}))
        attention = session.run(graph.attention, {
            graph.images: test[0][:config.batch_size]})
    return 0, {
        "test_accuracy": right / _TEST_PAIRS, "test_images": _TEST_PAIRS,
        "train_images": len(data.train_labels),
        "train_loss": float(np.mean(losses[-_STEPS:])),
        "attention": health.summary(
            block_names({"res4": (0,)}), attention)}


def pairs(images, labels, count, random):
    """Canvases with two digits, one in each half, half of them of one class.

    Args:
      images: uint8 [N, 28, 28, 1]; labels: [N].
      count: of the pairs.
      random: a `numpy.random.RandomState`.
    Returns:
      uint8 [count, 32, 112, 1], and int32 [count]: 1 for one class.
    """
    height, width = CANVAS
    canvases = np.zeros((count, height, width, 1), np.uint8)
    same = (np.arange(count) % 2).astype(np.int32)
    for canvas, alike in zip(canvases, same):
        one = random.randint(len(labels))
        others = np.flatnonzero((labels == labels[one]) == bool(alike))
        two = others[random.randint(len(others))]
        for digit, least, most in (
                (one, 0, width // 2 - DIGIT_SIZE - GAP // 2),
                (two, width // 2 + GAP // 2, width - DIGIT_SIZE)):
            x = random.randint(least, most + 1)
            y = random.randint(height - DIGIT_SIZE + 1)
            canvas[y:y + DIGIT_SIZE, x:x + DIGIT_SIZE] = images[digit]
    return canvases, same


class _Graph:
    """The shallow network with its loss and its test."""

    def __init__(self, config, total_steps):
        tf1.set_random_seed(config.seed)
        self.images = tf1.placeholder(tf.uint8, [None, CANVAS[0], CANVAS[1], 1])
        self.same = tf1.placeholder(tf.int32, [None])
        step = tf1.train.get_or_create_global_step()
        self._norms = dict(momentum=lambda: warm_up_momentum(step))
        self._make(config)
        logits = self._network(True, None)
        self.loss = tf.reduce_mean(
            tf.nn.sparse_softmax_cross_entropy_with_logits(
                labels=self.same, logits=logits))
        optimizer = tf1.train.AdamOptimizer(
            learning_rate(config, step, total_steps))
        with tf.control_dependencies(
                tf1.get_collection(tf1.GraphKeys.UPDATE_OPS)):
            self.train_op = optimizer.minimize(self.loss, global_step=step)
        watched = []
        logits = self._network(False, watched)
        self.right = tf.reduce_sum(tf.cast(tf.equal(tf.argmax(
            logits, 1, output_type=tf.int32), self.same), tf.int32))
        self.attention = health.measure(watched)

    def _make(self, config):
        channels = 1
        self._layers = []
        for size, stride in LAYERS:
            self._layers.append((
                Conv(channels, _CHANNELS, size, stride),
                BatchNorm(_CHANNELS, **self._norms)))
            channels = _CHANNELS
        self._block = None if config.non_local == "0" else NonLocalBlock(
            channels, max(1, int(channels * config.inner_ratio)),
            config.instantiation, config.sub_sample, config.scale,
            **dict(BLOCKS[config.block], **self._norms))
        # The block's sum meets a non-linear layer at each position.
        self._after = (BatchNorm(channels, **self._norms),
                       Conv(channels, channels),
                       BatchNorm(channels, **self._norms))
        self._dense = Dense(channels, 2)

    def _network(self, is_training, watch):
        x = tf.cast(self.images, tf.float32) / 255.0
        for conv, norm in self._layers:
            x = tf.nn.relu(norm(conv(x), is_training=is_training))
        if self._block is not None:
            x = self._block(x, is_training=is_training, watch=watch)
        first, conv, second = self._after
        x = conv(tf.nn.relu(first(x, is_training=is_training)))
        x = tf.nn.relu(second(x, is_training=is_training))
        return self._dense(tf.reduce_mean(x, [1, 2]))
