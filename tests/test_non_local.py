"""The block against NumPy, written position by position from the paper."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from support import graph_session, random_values, set_values, short_names, tf1

from nonlocal_tf.architecture import INSTANTIATIONS
from nonlocal_tf.non_local import NonLocalBlock

SHAPES = {3: (2, 5, 6), 4: (2, 3, 5, 6), 5: (2, 3, 3, 5, 6)}
INNER = 4


def pool_by_two(x, rank):
    """Max over windows of 2 in T (rank 3) or in H and W; odd rests count."""
    for axis in ((1,) if rank == 3 else (rank - 3, rank - 2)):
        starts = range(0, x.shape[axis], 2)
        x = np.stack([np.take(x, range(s, min(s + 2, x.shape[axis])),
                              axis).max(axis) for s in starts], axis)
    return x


def paper_block(x, weights, form, sub_sample, scale):
    """z and the affinity of Eq. 1 to 6, in inference mode, in float64."""
    def linear(name, value):
        return value @ weights[name + "/kernel"][0, 0] + (
            weights[name + "/bias"])

    rank = x.ndim
    queries, keys = (x, x) if form == "gaussian" else (
        linear("theta", x), linear("phi", x))
    values = linear("g", x)
    if sub_sample:
        keys, values = pool_by_two(keys, rank), pool_by_two(values, rank)
    width = queries.shape[-1]
    factor = width ** -0.5 if scale else 1.0
    y, affinities = [], []
    for q, k, v in zip(queries.reshape(len(x), -1, width),
                       keys.reshape(len(x), -1, width),
                       values.reshape(len(x), -1, INNER)):
        f = np.zeros((len(q), len(k)))
        for i, j in itertools.product(range(len(q)), range(len(k))):
            if form == "concatenation":
                w_f = np.concatenate([weights["theta_score/kernel"][0, 0],
                                      weights["phi_score/kernel"][0, 0]])
                f[i, j] = max(0.0, np.concatenate([q[i], k[j]]) @ w_f[:, 0])
            else:
                f[i, j] = q[i] @ k[j]
            f[i, j] *= factor
            if form in ("gaussian", "embedded_gaussian"):
                f[i, j] = np.exp(f[i, j])
        if form in ("gaussian", "embedded_gaussian"):
            normaliser = f.sum(1, keepdims=True)
        else:
            normaliser = len(k)
        affinities.append(f / normaliser)
        y.append(affinities[-1] @ v)
    out = linear("out", np.stack(y).reshape(x.shape[:-1] + (INNER,)))
    out = (out - weights["norm/moving_mean"]) / np.sqrt(
        weights["norm/moving_variance"] + 1e-5)
    out = out * weights["norm/gamma"] + weights["norm/beta"]
    return x + out, np.stack(affinities)


def run_block(x, unknown=False, seed=1, is_training=False, **settings):
    """z, affinity and the weights of a block with random weights."""
    with graph_session() as session:
        block = NonLocalBlock(x.shape[-1], INNER, **settings)
        values = random_values(block.variables, seed)
        set_values(session, values)
        shape = [None] * (x.ndim - 1) + [x.shape[-1]] if unknown else x.shape
        fed = tf1.placeholder(tf.float32, shape)
        z = block(fed, is_training=is_training)
        _, affinity = block(fed, is_training=is_training,
                            return_affinity=True)
        z, affinity = session.run([z, affinity], {fed: x})
        names = {name: values[variable].astype(np.float64)
                 for name, variable in short_names(block).items()}
        return z, affinity, names


def random_input(shape, seed=0):
    return np.random.RandomState(seed).randn(*shape).astype(np.float32)


@pytest.mark.parametrize("unknown", [False, True])
@pytest.mark.parametrize("rank", [3, 4, 5])
@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("sub_sample", [False, True])
@pytest.mark.parametrize("form", INSTANTIATIONS)
def test_equals_the_paper(form, sub_sample, scale, rank, unknown):
    x = random_input(SHAPES[rank])
    z, affinity, weights = run_block(
        x, unknown, instantiation=form, sub_sample=sub_sample, scale=scale)
    expected_z, expected_affinity = paper_block(
        x.astype(np.float64), weights, form, sub_sample, scale)
    np.testing.assert_allclose(z, expected_z, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        affinity, expected_affinity, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("form", INSTANTIATIONS)
def test_is_permutation_equivariant(form):
    x = random_input((2, 3, 5, 6))
    order = np.random.RandomState(5).permutation(15)

    def permuted(value):
        return value.reshape(2, 15, 6)[:, order].reshape(2, 3, 5, 6)

    z = run_block(x, instantiation=form)[0]
    z_permuted = run_block(permuted(x), instantiation=form)[0]
    np.testing.assert_allclose(z_permuted, permuted(z), atol=1e-5)


@pytest.mark.parametrize("is_training", [False, True])
@pytest.mark.parametrize("form", INSTANTIATIONS)
def test_is_the_identity_at_the_start(form, is_training):
    x = random_input((2, 3, 5, 6))
    with graph_session() as session:
        block = NonLocalBlock(6, instantiation=form)
        z = block(tf.constant(x), is_training=is_training)
        session.run(tf1.global_variables_initializer())
        np.testing.assert_array_equal(session.run(z), x)


@pytest.mark.parametrize("form", INSTANTIATIONS)
def test_affinity_rows_sum_to_one_where_the_paper_normalises_them(form):
    affinity = run_block(random_input((2, 3, 5, 6)), instantiation=form)[1]
    sums = affinity.sum(-1)
    if "gaussian" in form:
        np.testing.assert_allclose(sums, 1.0, atol=1e-5)
    else:
        assert np.abs(sums - 1.0).max() > 0.01


@pytest.mark.parametrize("sub_sample", [False, True])
@pytest.mark.parametrize(
    "form", ["embedded_gaussian", "dot_product", "concatenation"])
def test_fused_convolution_equals_three(form, sub_sample):
    x = random_input((2, 3, 5, 6))
    settings = {"instantiation": form, "sub_sample": sub_sample}
    z = run_block(x, fused=True, **settings)[0]
    plain = run_block(x, fused=False, **settings)[0]
    np.testing.assert_allclose(z, plain, atol=1e-5)


@pytest.mark.parametrize("shape, inner", [
    ((1, 2, 2, 6), 16),                 # N = M = 4: (theta phi^T) g is cheaper
    ((1, 9, 9, 6), 3),                  # theta (phi^T g) is
])
def test_dot_product_is_the_same_in_either_order(shape, inner):
    x = random_input(shape)
    with graph_session() as session:
        block = NonLocalBlock(6, inner, "dot_product")
        set_values(session, random_values(block.variables, 1))
        z = block(tf.constant(x), is_training=False)
        by_affinity, _ = block(
            tf.constant(x), is_training=False, return_affinity=True)
        z, by_affinity = session.run([z, by_affinity])
        np.testing.assert_allclose(z, by_affinity, atol=1e-5)


def test_dot_product_of_many_positions_makes_no_large_matrix():
    with tf.Graph().as_default() as graph:
        block = NonLocalBlock(6, 3, "dot_product")
        block(tf1.placeholder(tf.float32, [1, 40, 40, 6]), is_training=False)
        sizes = [int(np.prod(output.shape.as_list()))
                 for operation in graph.get_operations()
                 for output in operation.outputs
                 if output.shape.is_fully_defined()]
        assert max(sizes) < 1600 * 1600


@pytest.mark.parametrize("sub_sample", [False, True])
@pytest.mark.parametrize("form", INSTANTIATIONS)
def test_gradients_equal_finite_differences(form, sub_sample):
    """d sum(c z) along a random direction, by central differences."""
    x = random_input((2, 3, 5, 6))
    random = np.random.RandomState(7)
    with graph_session() as session:
        block = NonLocalBlock(
            6, INNER, form, sub_sample, momentum=1.0)   # statistics stay
        values = random_values(block.variables, 1)
        weight = random.randn(*x.shape).astype(np.float32)
        z = block(tf.constant(x), is_training=True)
        loss = tf.reduce_sum(tf.cast(z, tf.float64) * weight)
        trainable = list(block.trainable_variables)
        gradients = tf1.gradients(loss, trainable)
        set_values(session, values)
        computed = session.run(gradients)
        for variable, gradient in zip(trainable, computed):
            direction = random.randn(*variable.shape.as_list())
            step = 1e-3 / np.linalg.norm(direction)
            losses = []
            for sign in (1, -1):
                set_values(session, {variable: (
                    values[variable] + sign * step * direction)})
                losses.append(session.run(loss))
            set_values(session, {variable: values[variable]})
            numeric = (losses[0] - losses[1]) / (2 * step)
            analytic = float(np.sum(gradient * direction))
            assert numeric == pytest.approx(
                analytic, rel=2e-2, abs=2e-2), variable.op.name


def test_every_weight_learns_once_gamma_has_moved():
    with graph_session() as session:
        block = NonLocalBlock(6, INNER)
        set_values(session, random_values(block.variables, 1))
        z = block(tf.constant(random_input((2, 3, 5, 6))), is_training=True)
        kernels = [v for v in block.trainable_variables
                   if v.op.name.endswith("kernel")]
        for gradient in session.run(tf1.gradients(z ** 2, kernels)):
            assert np.abs(gradient).max() > 0


def test_default_inner_width_is_half():
    with tf.Graph().as_default():
        assert NonLocalBlock(6).inner_channels == 3


@pytest.mark.skipif(not hasattr(tf, "function") or tf.__version__ < "2",
                    reason="eager execution is TensorFlow 2's default")
def test_eager_equals_the_graph():
    x = random_input((2, 3, 5, 6))
    expected, _, weights = run_block(x)
    block = NonLocalBlock(6, INNER)
    for variable in block.variables:
        name = variable.name.split(":")[0].split("/", 1)[1]
        variable.assign(weights[name].astype(np.float32))
    np.testing.assert_allclose(
        block(x=tf.constant(x), is_training=False), expected, atol=1e-5)
    np.testing.assert_allclose(
        tf.function(lambda v: block(v, is_training=False))(tf.constant(x)),
        expected, atol=1e-5)


def test_unknown_form_is_refused():
    with pytest.raises(ValueError, match="embedded_gaussian, gaussian"):
        NonLocalBlock(6, instantiation="softmax")


def test_no_width_is_refused():
    with pytest.raises(ValueError, match="positive"):
        NonLocalBlock(6, 0)


@pytest.mark.parametrize("shape", [(2, 6), (2, 3, 5, 7), (1, 2, 3, 4, 5, 6)])
def test_wrong_rank_or_width_is_refused(shape):
    with tf.Graph().as_default():
        block = NonLocalBlock(6)
        with pytest.raises(ValueError, match="C = 6"):
            block(tf1.placeholder(tf.float32, shape), is_training=False)
