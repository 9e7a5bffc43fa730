"""Keras's layer against the block as a `tf.Module`, and against NumPy."""

import os
import runpy
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from support import ROOT, random_values, short_names
from test_non_local import paper_block, random_input
from test_precision import available

from nonlocal_tf import NonLocalBlock

FILE = os.path.join(ROOT, "nonlocal_tf", "keras.py")
OLD = tf.__version__ < "2"
if not OLD:
    from nonlocal_tf import keras
of_keras = pytest.mark.skipif(
    OLD, reason="Keras's layer is of TensorFlow 2.6 and later")
KERAS_3 = not OLD and hasattr(tf.keras, "Operation")


def pair(shape, **settings):
    """A layer for x of this shape and a block with the same weights."""
    with tf.Graph().as_default():
        block = NonLocalBlock(shape[-1], 4, **settings)
        values = random_values(block.variables, 1)
        values = {name: values[variable]
                  for name, variable in short_names(block).items()}
    layer = keras.NonLocalBlock(4, **settings)
    layer.build(shape)
    block = NonLocalBlock(shape[-1], 4, **settings)
    for named in (layer.named_weights(), short_names(block)):
        assert set(named) == set(values)
        for name, value in values.items():
            named[name].assign(value)
    return layer, block


def model_of(layer, size=None):
    """From [B, size, size, 6] to 3 numbers."""
    x = tf.keras.Input((size, size, 6))
    pooled = tf.keras.layers.GlobalAveragePooling2D()(layer(x))
    return tf.keras.Model(x, tf.keras.layers.Dense(3, dtype="float32")(pooled))


def near(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


@of_keras
@pytest.mark.parametrize("shape, settings", [
    ((2, 5, 6), dict(sub_sample=True)),
    ((2, 3, 5, 6), dict(pre_norm=True, cosine=True)),
    ((2, 3, 5, 6), dict(instantiation="dot_product", norm="affine",
                        zero_start=None, affinity_limit=None)),
    ((2, 3, 5, 6), dict(instantiation="concatenation", fused=False,
                        out_bias=False, norm=None, zero_start="kernel")),
    ((2, 4, 3, 5, 6), dict(instantiation="gaussian", scale=True,
                           sub_sample=(1, 2, 2), pool_first=True)),
    ((2, 4, 3, 5, 6), dict(group_frames=2, affinity_limit=100, momentum=0.9,
                           epsilon=1e-3))])
def test_outputs_gradients_and_statistics_equal_the_blocks(shape, settings):
    layer, block = pair(shape, **settings)
    x = tf.constant(random_input(shape))
    near(layer(x), block(x, is_training=False))
    found, expected = {}, {}
    for results, named, call in (
            (found, layer.named_weights(), lambda: layer(x, training=True)),
            (expected, short_names(block), lambda: block(x, is_training=True))):
        with tf.GradientTape() as tape:
            tape.watch(x)
            results["z"] = call()
            loss = tf.reduce_sum(results["z"] ** 3)
        names = [name for name in sorted(named) if named[name].trainable]
        results.update(zip(["x"] + names, tape.gradient(
            loss, [x] + [named[name] for name in names])))
        results.update((name, named[name].numpy()) for name in named
                       if "moving" in name)
    assert set(found) == set(expected)
    for name in expected:
        scale = max(1.0, np.abs(expected[name]).max())
        near(found[name] / scale, expected[name] / scale)


@of_keras
def test_equals_the_paper():
    x = random_input((2, 3, 5, 6))
    layer, _ = pair(x.shape)
    weights = {name: weight.numpy().astype(np.float64)
               for name, weight in layer.named_weights().items()}
    for found, expected in zip(layer(x, return_affinity=True), paper_block(
            x.astype(np.float64), weights, "embedded_gaussian")):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@of_keras
def test_a_step_of_fit_is_w_less_the_rate_times_the_gradient():
    """The gradient is that of the block, with the layer's first weights."""
    x, labels = random_input((4, 3, 5, 6)), np.array([0, 1, 2, 0])
    layer, block = pair(x.shape, pre_norm=True)
    model = model_of(layer)
    kernel, bias = model.layers[-1].get_weights()
    variables = short_names(block)
    trained = [name for name in variables if variables[name].trainable]
    with tf.GradientTape() as tape:
        z = block(tf.constant(x), is_training=True)
        logits = tf.reduce_mean(z, [1, 2]) @ kernel + bias
        loss = tf.reduce_mean(
            tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
    gradients = tape.gradient(loss, [variables[name] for name in trained])
    for name, gradient in zip(trained, gradients):
        variables[name].assign_sub(0.1 * gradient)
    compile_(model, tf.keras.optimizers.SGD(0.1))
    history = model.fit(x, labels, batch_size=4, verbose=0).history
    near(history["loss"][0], loss)
    for name, weight in layer.named_weights().items():
        near(weight.numpy(), variables[name].numpy())


def compile_(model, optimizer="sgd", **settings):
    model.compile(optimizer, tf.keras.losses.SparseCategoricalCrossentropy(
        from_logits=True), **settings)


@of_keras
@pytest.mark.parametrize("ending", [".keras"] if KERAS_3 else ["", ".h5"])
def test_a_saved_model_answers_and_learns_as_before(tmp_path, ending):
    x = random_input((4, 3, 5, 6))
    layer, _ = pair(x.shape, sub_sample=[1, 2], pool_first=True, momentum=0.9)
    model = model_of(layer)
    compile_(model)
    path = str(tmp_path / ("model" + ending))
    model.save(path)
    again = tf.keras.models.load_model(path)
    near(again.predict(x, verbose=0), model.predict(x, verbose=0))
    for each in (model, again):
        each.fit(x, np.array([0, 1, 2, 0]), batch_size=4, verbose=0)
    for one, other in zip(model.get_weights(), again.get_weights()):
        near(one, other)
    assert again.layers[1].get_config() == layer.get_config()


class Doubled(tf.keras.Model if not OLD else object):
    """Two blocks, made before they know what they get."""

    def __init__(self):
        super().__init__()
        self.first, self.second = keras.NonLocalBlock(), keras.NonLocalBlock()
        self.pool = tf.keras.layers.GlobalAveragePooling2D()
        self.head = tf.keras.layers.Dense(3)

    def call(self, x, training=None):
        x = self.second(self.first(x, training=training), training=training)
        return self.head(self.pool(x))


@of_keras
def test_a_subclass_trains_and_its_statistics_move():
    x = random_input((4, 3, 5, 6)) + 1
    model = Doubled()
    compile_(model)
    model.fit(x, np.array([0, 1, 2, 0]), verbose=0)
    assert len(model.weights) == 2 * 12 + 2
    for block in (model.first, model.second):
        # gamma was 0, so that nothing before `norm` has a gradient yet.
        named = block.named_weights()
        assert np.all(named["norm/gamma"].numpy() != 0)
        assert np.all(named["norm/moving_mean"].numpy() != 0)


@of_keras
def test_sizes_may_differ_from_batch_to_batch():
    layer, block = pair((None, None, None, 6), sub_sample=True)
    x = tf.keras.Input((None, None, 6))
    model = tf.keras.Model(x, layer(x))
    assert tuple(model.output.shape) == (None, None, None, 6)
    assert tuple(layer.compute_output_shape((None, None, 7, 6))) == (
        None, None, 7, 6)
    for shape in ((2, 3, 5, 6), (1, 4, 4, 6)):
        x = random_input(shape)
        near(model(x), block(tf.constant(x), is_training=False))


@of_keras
def test_statistics_move_neither_in_inference_nor_frozen():
    x = random_input((2, 3, 5, 6)) + 1
    layer, _ = pair(x.shape)
    mean = layer.named_weights()["norm/moving_mean"]
    first = mean.numpy()
    inferred = layer(x)
    layer.trainable = False
    near(layer(x, training=True), inferred)
    assert np.all(mean.numpy() == first) and not layer.trainable_weights
    layer.trainable = True
    layer(x, training=True)
    assert np.all(mean.numpy() != first)


@of_keras
@pytest.mark.parametrize("policy, epsilon", [
    ("mixed_bfloat16", 2 ** -8), ("mixed_float16", 2 ** -11)])
def test_a_mixed_policy_computes_in_its_type_and_keeps_float32(
        policy, epsilon):
    if not KERAS_3 and policy == "mixed_bfloat16" and not available("bfloat16"):
        pytest.skip("no bfloat16 in TensorFlow 2.6 on this processor")
    x = random_input((2, 3, 5, 6))
    layer, block = pair(x.shape)
    mixed = keras.NonLocalBlock(4, dtype=policy)
    mixed.build(x.shape)
    mixed.set_weights(layer.get_weights())
    z = mixed(x)
    assert z.dtype == policy[len("mixed_"):]
    assert {tf.as_dtype(weight.dtype) for weight in mixed.weights} == {
        tf.float32}
    exact = block(tf.constant(x), is_training=False).numpy()
    assert np.abs(tf.cast(z, tf.float32) - exact).max() < (
        8 * epsilon * np.abs(exact).max())

@of_keras
def test_float16_trains_with_keras_loss_scale():
    """A loss of 1e-6 has gradients that float16 by itself has no number for."""
    x, moved = random_input((2, 3, 5, 6)), []
    head = [np.random.RandomState(2).randn(6, 3), np.zeros(3)]
    for policy in ("float32", "mixed_float16"):
        layer = keras.NonLocalBlock(4, dtype=policy)
        model = model_of(layer)
        model.layers[-1].set_weights(head)
        layer.set_weights(pair(x.shape)[0].get_weights())
        optimizer = tf.keras.optimizers.SGD(1e6)
        if policy != "float32":
            optimizer = tf.keras.mixed_precision.LossScaleOptimizer(optimizer)
        model.compile(optimizer, "mse", loss_weights=[1e-6])
        gamma = layer.named_weights()["norm/gamma"]
        before = gamma.numpy()
        model.fit(x, np.ones((2, 3)), verbose=0)
        moved.append(gamma.numpy() - before)
    largest = np.abs(moved[0]).max()
    np.testing.assert_allclose(moved[1], moved[0], atol=0.02 * largest)
    assert largest > 0


@pytest.mark.slow
@pytest.mark.skipif(not KERAS_3, reason="of Keras 3")
def test_xla_trains_the_same():
    """What Keras 3 takes by itself on a GPU."""
    x, labels = random_input((4, 3, 5, 6)), np.array([0, 1, 2, 0])
    first, results = None, []
    for jit_compile in (False, True):
        layer, _ = pair(x.shape, sub_sample=True, affinity_limit=100)
        model = model_of(layer)
        first = first or model.layers[-1].get_weights()
        model.layers[-1].set_weights(first)
        compile_(model, jit_compile=jit_compile)
        model.fit(x, labels, batch_size=4, verbose=0)
        results.append(model.get_weights())
    for one, other in zip(*results):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


@of_keras
@pytest.mark.parametrize("settings, shape, words", [
    (dict(instantiation="softmax"), (2, 3, 5, 6), "embedded_gaussian"),
    (dict(norm=None), (2, 3, 5, 6), "zero_start"),
    (dict(dtype="float64"), (2, 3, 5, 6), "mixed_bfloat16"),
    (dict(), (2, 6), "known C"), (dict(), (2, 3, 5, None), "known C")])
def test_what_cannot_be_is_refused(settings, shape, words):
    with pytest.raises(ValueError, match=words):
        keras.NonLocalBlock(**settings).build(shape)


def test_what_it_needs_is_said_in_one_line(monkeypatch):
    if OLD:
        words = "needs TensorFlow 2.6 or later, not 1.15"
    elif KERAS_3:
        monkeypatch.setattr(tf.keras.config, "backend", lambda: "torch")
        words = "set KERAS_BACKEND=tensorflow"
    else:
        pytest.skip("tf.keras 2.6 has one backend")
    with pytest.raises(ImportError, match=words):
        runpy.run_path(FILE)


@of_keras
@pytest.mark.skipif(KERAS_3, reason="Keras 3 is eager always")
@pytest.mark.parametrize(
    "off", ["disable_eager_execution", "disable_v2_behavior"])
def test_without_eager_execution_is_one_line(off):
    code = ("import tensorflow as tf\ntf.compat.v1.{}()\n"
            "from nonlocal_tf.keras import NonLocalBlock\nNonLocalBlock(4)")
    done = subprocess.run([sys.executable, "-c", code.format(off)], cwd=ROOT,
                          stderr=subprocess.PIPE, universal_newlines=True)
    assert "ValueError: nonlocal_tf.keras needs eager" in done.stderr
