"""What several tests need: networks with values that are known."""

import codecs
import contextlib
import io
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from nonlocal_tf.tasks import make_network
from nonlocal_tf.training.config import TrainConfig
from nonlocal_tf.training.loop import train
from nonlocal_tf.weights import checkpoints

tf1 = tf.compat.v1
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# One process for several commands, since it takes seconds to import TensorFlow;
# each has a graph of its own all the same.
DRIVER = """
import json, runpy, sys
sys.path.insert(0, ".")
for words in json.load(sys.stdin):
    if "tensorflow" in sys.modules:
        sys.modules["tensorflow"].compat.v1.reset_default_graph()
    sys.argv, code = words[words[0] == "-m":], 0
    try:
        if words[0] == "-m":
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(words[0], run_name="__main__")
    except SystemExit as end:
        code = end.code
    print("\\nEND", code, flush=True)
"""


def blocks(path, language):
    with open(path, encoding="utf-8") as file:
        return re.findall(
            r"```{}\n(.*?)```".format(language), file.read(), re.DOTALL)


def shell_lines(path):
    text = "\n".join(blocks(path, "bash")).replace("\\\n", " ")
    return [line for line in text.split("\n") if line.strip()]


def environment():
    """For another process, of which each TensorFlow is to find its own."""
    return {name: value for name, value in dict(
        os.environ, PYTHONPATH=ROOT).items()
        if (name, value) != ("TF_ENABLE_ONEDNN_OPTS", "1")}


def run_in_turn(commands, folder, **variables):
    """Runs commands, each the words after `python`; all but the first in one.

    Returns:
      Of each: its words as a text, what it printed and its exit code, texts.
    """
    def run(words, given=""):
        return subprocess.run(
            [sys.executable] + words, cwd=str(folder), input=given,
            env=dict(environment(), **variables), stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, universal_newlines=True)

    first = run(commands[0])
    rest = run(["-c", DRIVER], json.dumps(commands[1:]))
    parts = [first.stdout, str(first.returncode)] + re.split(
        r"\nEND (.*)\n", rest.stdout)
    print(first.stderr, rest.stderr[-4000:], sep="\n")
    assert len(parts) == 2 * len(commands) + 1, rest.stderr
    return [(" ".join(words), text, code) for words, text, code in zip(
        commands, parts[::2], parts[1::2])]


@contextlib.contextmanager
def graph_session():
    """A session in a graph of its own."""
    with tf.Graph().as_default(), tf1.Session() as session:
        yield session


def set_values(session, values):
    """Gives variables values: {variable: array}."""
    operations = [variable.initializer for variable in values]
    session.run(operations, {
        operation.inputs[1]: value
        for operation, value in zip(operations, values.values())})


def short_names(module):
    """The variables of a module by their names below its scope."""
    prefix = module.name_scope.name
    return {variable.name[len(prefix):].split(":")[0]: variable
            for variable in module.variables}


def random_values(variables, seed):
    """{variable: array} that hide nothing: no zero, positive variances.

    Kernels keep He's scale, so that deep networks stay in range.
    """
    random = np.random.RandomState(seed)
    values = {}
    for variable in sorted(variables, key=lambda v: v.op.name):
        shape = variable.shape.as_list()
        kind = variable.op.name.split("/")[-1]
        if kind in ("gamma", "moving_variance"):
            value = random.uniform(0.5, 1.5, shape)
        elif kind == "kernel":
            value = random.randn(*shape) * np.prod(shape[:-1]) ** -0.5
        else:
            value = random.randn(*shape) * 0.1
        values[variable] = value.astype(np.float32)
    return values


def write_random(config):
    """A checkpoint of a `TrainConfig`, of weights none of which is trivial."""
    with tf.Graph().as_default():
        values = random_values(make_network(config).variables, 0)
    checkpoints.write(config, {
        variable.op.name.split("/", 1)[1]: value
        for variable, value in values.items()}, {})


@contextlib.contextmanager
def unprivileged():
    """Root may read and write everything; it becomes nobody for a moment."""
    codecs.lookup("ascii")              # nobody may not read Python's own
    if os.geteuid() != 0:
        yield
        return
    try:
        os.seteuid(65534)
    except OSError:
        pytest.skip("root that may not become another user may do anything")
    try:
        yield
    finally:
        os.seteuid(0)


THIN = ["--image_size", "28", "--resnet_size", "14", "--base_width", "4",
        "--non_local", "1", "--batchsize", "8"]


def write_tiny_set(folder, train=70, test=23):
    """An IDX set whose classes differ by the place of a bright square."""
    random = np.random.RandomState(0)
    for name, count in (("train", train), ("t10k", test)):
        labels = np.arange(count) % 10
        images = random.randint(0, 100, (count, 28, 28))
        for image, label in zip(images, labels):
            row, column = divmod(label, 5)
            image[4 + 12 * row:12 + 12 * row,
                  5 * column:5 * column + 5] = 255
        for kind, magic, array in (("images-idx3", 0x803, images),
                                   ("labels-idx1", 0x801, labels)):
            header = np.array((magic,) + array.shape, ">u4").tobytes()
            path = os.path.join(
                str(folder), "{}-{}-ubyte".format(name, kind))
            with open(path, "wb") as file:
                file.write(header + array.astype(np.uint8).tobytes())


def checkpoint_bytes(prefix):
    """Variable name -> its bytes."""
    reader = tf1.train.load_checkpoint(prefix)
    return {name: reader.get_tensor(name).tobytes()
            for name in reader.get_variable_to_shape_map()}


SGD = {"optimizer": "sgd"}              # half of Adam's variables: quicker


def thin_config(data_url, train_url, **settings):
    """Two epochs of 8 steps on the tiny set; see the fixture `shallow`."""
    settings = dict(dict(
        epoch=2, batch_size=8, image_size=28, base_width=4,
        non_local="res4:0", learning_rate=3e-3, log_steps=1), **settings)
    return TrainConfig(
        data_url=data_url, train_url=str(train_url), **settings)


def run_thin(data_url, train_url, **settings):
    """A `TrainResult` and what was printed."""
    stream = io.StringIO()
    result = train(
        thin_config(data_url, train_url, **settings), stream=stream)
    return result, stream.getvalue()


def records(train_url, kind):
    """The records of one kind in metrics.jsonl."""
    with open(os.path.join(str(train_url), "metrics.jsonl")) as file:
        return [record for record in map(json.loads, file)
                if record["kind"] == kind]
