"""The test: every test image once, in inference mode."""

import time
from typing import NamedTuple

import numpy as np

from nonlocal_tf import health
from nonlocal_tf.data import batches


class TestResult(NamedTuple):
    """What a test came to."""

    __test__ = False                    # pytest: this is no test case

    loss: float                         # mean cross entropy, in nats
    correct: int
    images: int
    seconds: float
    attention: np.ndarray               # of some images; see `health.measure`

    def accuracy(self):
        """Share of the images that were classified right, 0 to 1."""
        return self.correct / self.images


def evaluate(session, graph, data, batch_size, platform, go_on):
    """Tests the network on the whole test set, each process on its share.

    The last batch is filled up, and what fills it is not counted.

    Args:
      session: holds the variables.
      graph: a `TrainGraph`.
      data: a `Dataset`.
      batch_size: that of the graph's placeholders.
      platform: knows the processes.
      go_on: called with the number of images done before each batch; False
        ends the test.
    Returns:
      A `TestResult` over all processes; None if `go_on` ended it.
    """
    began = time.monotonic()
    session.run(graph.average_statistics)       # each process has its own
    share = slice(platform.rank, None, platform.size)
    loss_sum, correct, done = 0.0, 0, 0
    blocks, _, measures = graph.attention.shape.as_list()
    attention = [np.zeros([blocks, 0, measures])]   # a share may be empty
    for images, labels, valid in batches.test_batches(
            data.test_images[share], data.test_labels[share], batch_size):
        if not go_on(done * platform.size):
            return None
        losses, predictions, measured = session.run(
            [graph.test_losses, graph.test_predictions, graph.attention],
            {graph.images: images, graph.labels: labels})
        if done < health.SAMPLES:
            attention.append(measured[:, :valid])
        loss_sum += float(np.sum(losses[:valid], dtype=np.float64))
        correct += int(np.sum(predictions[:valid] == labels[:valid]))
        done += valid
    if platform.size > 1:
        loss_sum, correct, done = session.run(
            graph.sums, {graph.addends: [loss_sum, correct, done]})
    return TestResult(float(loss_sum / done), int(correct), int(done),
                      time.monotonic() - began,
                      np.concatenate(attention, 1)[:, :health.SAMPLES])
