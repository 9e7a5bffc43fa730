"""The test: every test image once, in inference mode."""

import time
from typing import NamedTuple

import numpy as np

from nonlocal_tf import health, tasks
from nonlocal_tf.errors import UserError


class TestResult(NamedTuple):
    """What a test came to."""

    __test__ = False                    # pytest: this is no test case

    loss: float                         # mean cross entropy, in nats
    correct: int
    images: int                         # all of the test set
    read: int                           # of them
    seconds: float
    attention: np.ndarray               # of some images; see `health.measure`

    def accuracy(self):
        """Share of the images that were classified right, 0 to 1."""
        return self.correct / self.images


def evaluate(session, graph, config, data, platform, go_on):
    """Tests the network on the whole test set, each process on its share.

    The last batch is filled up, and what fills it is not counted. What cannot
    be read counts as wrong.

    Args:
      session: holds the variables.
      graph: a `TrainGraph`.
      config: a `TrainConfig`.
      data: of its task.
      platform: knows the processes.
      go_on: called with the number of images done before each batch; False
        ends the test.
    Returns:
      A `TestResult` over all processes; None if `go_on` ended it in one.
    Raises:
      UserError: nothing of the test set can be read.
    """
    began = time.monotonic()
    session.run(graph.average_statistics)       # each process has its own
    loss_sum, correct, done = 0.0, 0, 0
    blocks, _, measures = graph.attention.shape.as_list()
    attention = [np.zeros([blocks, 0, measures])]   # a share may be empty
    stopped = False
    for images, labels, valid in tasks.of(config).test_batches(
            config, data, config.part_size(), platform.rank, platform.size):
        if not go_on(done * platform.size):
            stopped = True
            break
        losses, predictions, measured = session.run(
            [graph.test_losses, graph.test_predictions, graph.attention],
            {graph.images: images, graph.labels: labels})
        if done < health.SAMPLES:
            attention.append(measured[:, :valid])
        loss_sum += float(np.sum(losses[:valid], dtype=np.float64))
        correct += int(np.sum(predictions[:valid] == labels[:valid]))
        done += valid
    if platform.size > 1:
        loss_sum, correct, done, stopped = session.run(
            graph.sums, {graph.addends: [loss_sum, correct, done, stopped]})
    if stopped:
        return None
    if not done:
        raise UserError("--test_url has nothing that can be read. See the "
                        "warnings above.")
    return TestResult(float(loss_sum / done), int(correct),
                      len(data.test_labels), int(done),
                      time.monotonic() - began,
                      np.concatenate(attention, 1)[:, :health.SAMPLES])
