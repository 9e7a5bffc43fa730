"""One TensorFlow's part of test_across_versions.py, in its own process.

    across.py write TRAIN_URL DATA_URL FLAG...
                                          trains some steps, with a checkpoint,
                                          and freezes it in both layouts
    across.py read OUT.npz TRAIN_URL ...  the logits of each one's network, and
                                          of its two frozen files
"""

import json
import os
import sys

from nonlocal_tf import command

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
command.lighten()

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

from nonlocal_tf.export import graphdef, interface, predict  # noqa: E402
from nonlocal_tf.export.freeze import freeze, parse_flags  # noqa: E402
from nonlocal_tf.platforms import gpu  # noqa: E402
from nonlocal_tf.training.checkpoint import CheckpointFolder  # noqa: E402
from nonlocal_tf.training.config import TrainConfig  # noqa: E402
from nonlocal_tf.training.flags import (  # noqa: E402
    parse_flags as flags_of_training,
)
from nonlocal_tf.training.graph import TrainGraph  # noqa: E402
from nonlocal_tf.training.loop import train  # noqa: E402

tf1 = tf.compat.v1

# Layout -> batch size of the frozen file; 0 leaves it open.
LAYOUTS = {"image": 16, "flat": 0}


def write(train_url, data_url, *flags):
    train(flags_of_training(list(flags) + [
        "--data_url", data_url, "--train_url", train_url, "--Epoch", "2",
        "--batchsize", "8", "--image_size", "33", "--learning_rate", "1e-4"],
        "across.py", ""))
    for kind, size in sorted(LAYOUTS.items()):
        freeze(parse_flags([
            "--train_url", train_url, "--input_layout", kind, "--batchsize",
            str(size), "--output", os.path.join(train_url, kind + ".pb"),
        ], "freeze_pb.py"))


def logits(folders, images):
    """Of each one, by the trainer's own restore, Adam's variables included.

    They differ in their folder alone: one graph, and a session each.
    """
    found, configs = [], []
    folders = [CheckpointFolder(os.path.join(each, "Model"))
               for each in folders]
    for folder in folders:
        with open(folder.prefix(folder.steps()[-1]) + ".json") as file:
            configs.append(TrainConfig(**dict(
                json.load(file)["config"], train_url="any")))
        assert configs[-1] == configs[0]
    with tf.Graph().as_default():
        graph = TrainGraph(configs[0], 100, gpu.Platform(configs[0]))
        network = graph.network(tf.constant(images), is_training=False)
        for folder in folders:
            step = folder.steps()[-1]
            with tf1.Session() as session:      # of no values yet
                folder.restore(session, graph.saver, step)
                assert session.run(graph.step) == step
                found.append(session.run(network))
    return found


def frozen_logits(path, kind, images):
    """By the frozen file, whose classes must be those of its logits."""
    graph_def = graphdef.read(path)
    with tf.Graph().as_default(), tf1.Session() as session:     # a user's
        tf.import_graph_def(graph_def, name="")
        scores, classes = session.run(
            [predict.logits_name(graph_def, "output") + ":0", "output:0"],
            {"input:0": interface.digits(images, 33, kind)})
    assert classes.dtype == np.int32
    assert classes.tolist() == scores.argmax(1).tolist()
    return scores


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(*sys.argv[2:])
    else:
        random = np.random.RandomState(0)
        batch = random.randint(0, 256, (16, 28, 28, 1)).astype(np.uint8)
        np.savez(sys.argv[2], *[
            np.stack([scores] + [
                frozen_logits(os.path.join(folder, kind + ".pb"), kind, batch)
                for kind in sorted(LAYOUTS)])
            for scores, folder in zip(
                logits(sys.argv[3:], batch), sys.argv[3:])])
