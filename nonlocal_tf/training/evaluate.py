"""The test: every test image once, in inference mode."""

import time
from typing import NamedTuple

import numpy as np

from nonlocal_tf.data import batches


class TestResult(NamedTuple):
    """What a test came to."""

    __test__ = False                    # pytest: this is no test case

    loss: float                         # mean cross entropy, in nats
    correct: int
    images: int
    seconds: float

    def accuracy(self):
        """Share of the images that were classified right, 0 to 1."""
        return self.correct / self.images


def evaluate(session, graph, data, batch_size, go_on):
    """Tests the network on the whole test set.

    The last batch is filled up, and what fills it is not counted.

    Args:
      session: holds the variables.
      graph: a `TrainGraph`.
      data: a `Dataset`.
      batch_size: that of the graph's placeholders.
      go_on: called with the number of images done before each batch; False
        ends the test.
    Returns:
      A `TestResult`; None if `go_on` ended it.
    """
    began = time.monotonic()
    loss_sum, correct, done = 0.0, 0, 0
    for images, labels, valid in batches.test_batches(
            data.test_images, data.test_labels, batch_size):
        if not go_on(done):
            return None
        losses, predictions = session.run(
            [graph.test_losses, graph.test_predictions],
            {graph.images: images, graph.labels: labels})
        loss_sum += float(np.sum(losses[:valid], dtype=np.float64))
        correct += int(np.sum(predictions[:valid] == labels[:valid]))
        done += valid
    return TestResult(
        loss_sum / done, correct, done, time.monotonic() - began)
