"""One TensorFlow's part of test_across_versions.py, in its own process.

    across.py write TRAIN_URL DATA_URL    trains some steps, with a checkpoint
    across.py read OUT.npz TRAIN_URL ...  the logits of each one's network
"""

import json
import os
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

from nonlocal_tf.platforms import gpu  # noqa: E402
from nonlocal_tf.training.checkpoint import CheckpointFolder  # noqa: E402
from nonlocal_tf.training.config import TrainConfig  # noqa: E402
from nonlocal_tf.training.graph import TrainGraph  # noqa: E402
from nonlocal_tf.training.loop import train  # noqa: E402

tf1 = tf.compat.v1


def write(train_url, data_url):
    train(TrainConfig(
        data_url=data_url, train_url=train_url, epoch=2, batch_size=8,
        image_size=33, learning_rate=1e-4, max_steps=6))


def logits(train_url, images):
    """By the trainer's own restore, Adam's variables included."""
    folder = CheckpointFolder(os.path.join(train_url, "Model"))
    step = folder.steps()[-1]
    with open(folder.prefix(step) + ".json") as file:
        config = TrainConfig(**json.load(file)["config"])
    with tf.Graph().as_default(), tf1.Session() as session:
        graph = TrainGraph(config, 100, gpu)
        folder.restore(session, graph.saver, step)
        assert session.run(graph.step) == step
        return session.run(graph.network(
            tf.constant(images), is_training=False))


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(*sys.argv[2:])
    else:
        random = np.random.RandomState(0)
        batch = random.randint(0, 256, (16, 28, 28, 1)).astype(np.uint8)
        np.savez(sys.argv[2], *[
            logits(folder, batch) for folder in sys.argv[3:]])
