"""Queries in chunks against the whole matrix, and against NumPy."""

import numpy as np
import pytest
import tensorflow as tf
from support import graph_session, random_values, set_values, tf1

from nonlocal_tf import attention
from nonlocal_tf.attention import attend, attend_in_chunks
from nonlocal_tf.non_local import NonLocalBlock


def products(queries, keys):
    return tf.matmul(queries, keys, transpose_b=True)


def has_loop(graph):
    return any("While" in op.type or op.type == "Enter"
               for op in graph.get_operations())


def random_tensors(batch=2, n=7, m=5, a=3, k=4):
    random = np.random.RandomState(0)
    return [random.randn(batch, *shape).astype(np.float32)
            for shape in ((n, a), (m, a), (m, k), (n, k))]


def by_numpy(queries, keys, values, dy):
    """y and the gradients of sum(y dy), written out, in float64."""
    queries, keys, values, dy = [
        x.astype(np.float64) for x in (queries, keys, values, dy)]
    exponents = np.exp(queries @ keys.transpose(0, 2, 1))
    p = exponents / exponents.sum(2, keepdims=True)
    dp = dy @ values.transpose(0, 2, 1)
    ds = p * (dp - (dp * p).sum(2, keepdims=True))
    return [p @ values, ds @ keys, ds.transpose(0, 2, 1) @ queries,
            p.transpose(0, 2, 1) @ dy]


@pytest.mark.parametrize("rows, unknown", [
    (1, False), (2, True), (3, False), (100, True)])
def test_softmax_in_chunks_and_its_gradients_equal_numpy(rows, unknown):
    arrays = random_tensors()
    with graph_session() as session:
        fed = [tf1.placeholder(tf.float32, (
            [None, None] if unknown else list(x.shape[:2])) + [x.shape[2]])
            for x in arrays]
        y = attend_in_chunks(products, True, *fed[:3],
                             chunk_bytes=rows * 2 * 5 * 4)
        results = session.run([y] + tf1.gradients(y, fed[:3], fed[3]),
                              dict(zip(fed, arrays)))
    for result, expected in zip(results, by_numpy(*arrays)):
        np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("offset", [0.0, 4.0])
def test_many_chunks_in_float16_are_as_exact_as_the_whole(offset):
    """Of float16: its sums, and what has to cancel, are in float32."""
    arrays = random_tensors(batch=1, n=256, m=64, a=8, k=8)
    arrays[1:3] = arrays[1] + offset / 4, arrays[2] + offset
    arrays = [x.astype(np.float16).astype(np.float32) for x in arrays]
    expected = by_numpy(*arrays)
    errors = []
    with graph_session() as session:
        q, k, v, dy = [tf.constant(x.astype(np.float16)) for x in arrays]
        for y in (attend(products, True, q, k, v)[0],
                  attend_in_chunks(products, True, q, k, v, chunk_bytes=256)):
            found = session.run([y] + tf1.gradients(y, [q, k, v], dy))
            errors.append([np.linalg.norm(a - b) / np.linalg.norm(b)
                           for a, b in zip(found, expected)])
    for whole, chunked in zip(*errors):
        assert chunked <= 2 * whole + 1e-3


@pytest.mark.skipif(tf.__version__.startswith("1."),
                    reason="TensorFlow 1.15 has no eager tf.function")
@pytest.mark.parametrize("wrap", [lambda f: f, tf.function])
def test_works_eagerly_and_in_a_function(wrap):
    arrays = random_tensors()
    inputs = [tf.constant(x) for x in arrays[:3]]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        y = wrap(lambda *x: attend_in_chunks(
            products, True, *x, chunk_bytes=80))(*inputs)
    results = [y] + tape.gradient(y, inputs, tf.constant(arrays[3]))
    for result, expected in zip(results, by_numpy(*arrays)):
        np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("form, sub_sample", [
    ("embedded_gaussian", True), ("gaussian", False), ("concatenation", True)])
def test_a_block_in_chunks_equals_the_plain_one(form, sub_sample, monkeypatch):
    """Its output and the gradients of its input and of all its weights."""
    monkeypatch.setattr(attention, "CHUNK_BYTES", 2 * 12 * 4 * 4)
    x = np.random.RandomState(1).randn(2, 4, 5, 6).astype(np.float32)
    results = []
    for limit in (None, 0):
        with graph_session() as session:
            block = NonLocalBlock(6, 4, form, sub_sample, scale=True,
                                  affinity_limit=limit, name="block")
            set_values(session, random_values(block.variables, 2))
            fed = tf.constant(x)
            z = block(fed, is_training=True)
            gradients = tf1.gradients(z ** 2, [fed] + sorted(
                block.trainable_variables, key=lambda each: each.op.name))
            assert has_loop(session.graph) == (limit == 0)
            results.append(session.run([z] + gradients))
    for plain, chunked in zip(*results):
        np.testing.assert_allclose(chunked, plain, rtol=1e-4, atol=1e-3)


def test_only_a_matrix_above_the_limit_is_taken_in_chunks():
    """And none that is asked for."""
    matrix_bytes = 4 * 2 * 20 * 20
    for limit, expected in ((matrix_bytes, False), (matrix_bytes - 1, True)):
        with tf.Graph().as_default() as graph:
            NonLocalBlock(6, affinity_limit=limit)(
                tf1.placeholder(tf.float32, [2, 4, 5, 6]), is_training=True)
            assert has_loop(graph) == expected
    with tf.Graph().as_default():
        _, affinity = NonLocalBlock(6, affinity_limit=0)(
            tf.zeros([2, 4, 5, 6]), is_training=False, return_affinity=True)
        assert affinity.shape.as_list() == [2, 20, 20]
