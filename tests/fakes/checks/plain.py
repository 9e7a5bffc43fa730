"""What TensorFlow itself does; no fake is imported yet."""

import harness
import tensorflow as tf
from npu import config, network

tf1 = tf.compat.v1
tf1.disable_eager_execution()


def check_tensorflow_itself_ignores_npu_optimizer_silently():
    with harness.standard_error() as text, tf.Graph().as_default():
        x, y, w = network()
        with tf1.Session(config=config()) as session:
            session.run(w.initializer)
            assert session.run(y, {x: [[1, 1]]}) == 3
    assert "NpuOptimizer" not in text(), text()
