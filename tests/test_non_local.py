"""The block against NumPy, written position by position from the paper."""

import itertools
import json
import os

import numpy as np
import pytest
import tensorflow as tf
from support import (
    ROOT,
    graph_session,
    random_values,
    set_values,
    short_names,
    tf1,
)

from nonlocal_tf.architecture import INSTANTIATIONS
from nonlocal_tf.non_local import NonLocalBlock, _unit

SHAPES = {3: (2, 5, 6), 4: (2, 3, 5, 6), 5: (2, 3, 3, 5, 6)}
INNER = 4


def pool(x, windows):
    """Max over windows of the axes 1, 2..; an odd rest is dropped."""
    for axis, window in enumerate(windows, 1):
        window = min(window, x.shape[axis])
        starts = range(0, x.shape[axis] - window + 1, window)
        x = np.stack([np.take(x, range(s, s + window), axis).max(axis)
                      for s in starts], axis)
    return x


def unit(x):
    return x / np.sqrt((x ** 2).sum(-1, keepdims=True) + 1e-6)


def normalised(x, weights, name):
    """Batch norm in inference mode."""
    return (x - weights[name + "/moving_mean"]) / np.sqrt(
        weights[name + "/moving_variance"] + 1e-5) * (
            weights[name + "/gamma"]) + weights[name + "/beta"]


def paper_block(x, weights, form, sub_sample=False, scale=False,
                pool_first=False, cosine=False):
    """z and the affinity of Eq. 1 to 6, in inference mode, in float64.

    Where the weights have it: pre_norm, a bias of W_z, a norm after it.
    """
    def linear(name, value):
        return value @ weights[name + "/kernel"][0, 0] + (
            weights.get(name + "/bias", 0.0))

    rank, added = x.ndim, x
    if "pre_norm/gamma" in weights:
        x = normalised(x, weights, "pre_norm")
    windows = sub_sample
    if sub_sample is True:
        windows = {3: (2,), 4: (2, 2), 5: (1, 2, 2)}[rank]
    source = pool(x, windows) if windows and pool_first else x
    queries, keys = (x, source) if form == "gaussian" else (
        linear("theta", x), linear("phi", source))
    values = linear("g", source)
    if windows and not pool_first:
        keys, values = pool(keys, windows), pool(values, windows)
    width = queries.shape[-1]
    factor = width ** -0.5 if scale else 1.0
    if cosine and form != "concatenation":
        queries, keys = unit(queries), unit(keys)
        factor = (np.log(np.prod(keys.shape[1:-1])) + 4.5) / 2
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
    if "norm/moving_mean" in weights:
        out = normalised(out, weights, "norm")
    elif "norm/gamma" in weights:
        out = out * weights["norm/gamma"] + weights["norm/beta"]
    return added + out, np.stack(affinities)


def run_block(x, unknown=False, **settings):
    """z, affinity and the weights of a block with random weights."""
    with graph_session() as session:
        block = NonLocalBlock(x.shape[-1], INNER, **settings)
        values = random_values(block.variables, 1)
        set_values(session, values)
        shape = [None] * (x.ndim - 1) + [x.shape[-1]] if unknown else x.shape
        fed = tf1.placeholder(tf.float32, shape)
        z = block(fed, is_training=False)
        again, affinity = block(fed, is_training=False,
                                return_affinity=True)
        z, again, affinity = session.run([z, again, affinity], {fed: x})
        # Without its affinity a dot product is theta (phi^T g).
        np.testing.assert_allclose(z, again, atol=1e-5)
        names = {name: values[variable].astype(np.float64)
                 for name, variable in short_names(block).items()}
        return z, affinity, names


def random_input(shape):
    return np.random.RandomState(0).randn(*shape).astype(np.float32)


def check(x, unknown=False, **settings):
    z, affinity, weights = run_block(x, unknown, **settings)
    expected_z, expected_affinity = paper_block(
        x.astype(np.float64), weights,
        settings.pop("instantiation", "embedded_gaussian"), **{
            name: value for name, value in settings.items()
            if name in ("sub_sample", "pool_first", "cosine", "scale")})
    np.testing.assert_allclose(z, expected_z, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        affinity, expected_affinity, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("rank, sub_sample, scale, unknown", [
    (3, True, False, False), (4, False, True, True), (4, True, True, False),
    (5, False, False, False), (5, True, False, True)])
@pytest.mark.parametrize("form", INSTANTIATIONS)
def test_equals_the_paper(form, sub_sample, scale, rank, unknown):
    check(random_input(SHAPES[rank]), unknown, instantiation=form,
          sub_sample=sub_sample, scale=scale)


@pytest.mark.parametrize("settings", [
    dict(pre_norm=True, cosine=True, instantiation=form)
    for form in INSTANTIATIONS] + [
        dict(pre_norm=True), dict(cosine=True), dict(out_bias=False),
        dict(norm=None, zero_start=None),
        dict(norm="affine", zero_start=None),
        dict(fused=False, instantiation="concatenation")] + [
            dict(sub_sample=True, pool_first=True, instantiation=form)
            for form in INSTANTIATIONS])
def test_what_known_systems_do_equals_numpy(settings):
    check(random_input(SHAPES[4]), **settings)


@pytest.mark.parametrize("shape, windows, pool_first", [
    ((2, 4, 5, 7, 6), (2, 2, 2), False), ((2, 5, 4, 5, 6), (3, 1, 2), True),
    ((2, 1, 1, 5, 6), (2, 2, 2), True), ((2, 5, 1, 6), (2, 3), False),
    ((2, 1, 6), (2,), False)])
@pytest.mark.parametrize("unknown", [False, True])
def test_windows_of_any_size_drop_the_rest(shape, windows, pool_first, unknown):
    """Of an axis that is shorter than its window the whole is one window."""
    check(random_input(shape), unknown, sub_sample=windows,
          pool_first=pool_first)


def test_groups_of_frames_attend_within_themselves():
    x = random_input((2, 6, 3, 4, 6))
    z, affinity, weights = run_block(x, group_frames=2)
    groups = x.reshape(6, 2, 3, 4, 6).astype(np.float64)
    for found, expected in zip((z.reshape(groups.shape), affinity), paper_block(
            groups, weights, "embedded_gaussian")):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_groups_of_an_unknown_number_of_frames_do_not_mix_clips():
    with graph_session() as session:
        block = NonLocalBlock(6, INNER, group_frames=4)
        set_values(session, random_values(block.variables, 1))
        fed = tf1.placeholder(tf.float32, [None, None, 3, 4, 6])
        z = block(fed, is_training=False)
        session.run(z, {fed: random_input((2, 8, 3, 4, 6))})
        with pytest.raises(tf.errors.InvalidArgumentError, match="multiple"):
            session.run(z, {fed: random_input((2, 6, 3, 4, 6))})


def test_a_cosine_is_computed_in_float32_and_so_is_its_gradient():
    """dy . x of 256 numbers is beyond float16's 65504."""
    with graph_session() as session:
        x = tf.constant(np.full((1, 1, 256), 30, np.float16))
        gradient, = tf1.gradients(_unit(x), x, tf.cast(
            tf.fill([1, 1, 256], 32.0), tf.float16))
        assert np.isfinite(session.run(gradient)).all()


def test_a_cosine_leaves_no_key_more_than_its_share():
    """The extreme: one key along the query, all others against it."""
    with graph_session() as session:
        block = NonLocalBlock(4, instantiation="gaussian", cosine=True)
        x = np.full((1, 1, 50, 4), -3e4, np.float32)
        x[:, :, 0] = 3e4
        set_values(session, random_values(block.variables, 1))
        _, affinity = block(
            tf.constant(x), is_training=False, return_affinity=True)
        largest = session.run(affinity)[0, 0, 0]
    odds = np.exp(4.5) * 50 / 49
    assert largest == pytest.approx(odds / (odds + 1), rel=1e-5)


C2 = os.path.join(ROOT, "..", "shared", "data", "video", "vectors",
                  "c2_block.npz")


@pytest.mark.skipif(not os.path.exists(C2), reason="the vectors of the "
                    "authors' own block are not here")
def test_equals_the_authors_block_in_38_configurations():
    """Caffe2's z, dx and statistics; to 1e-4 of the largest number.

    Its running variance is the biased one, TensorFlow's n / (n - 1) of it. In
    inference mode its batch norm has no such gradient.
    """
    data = np.load(C2)
    for case in range(38):
        def get(name, case=case):
            return data["case{}/{}".format(case, name)]

        settings = json.loads(str(get("cfg")))
        expected = {name: np.moveaxis(get(name), 1, -1)
                    for name in ("z", "dx")}
        found = authors_block(get, settings)
        if settings["bn"] and not settings["train"]:
            del expected["dx"]
        if settings["bn"] and settings["train"]:
            n, old = get("x").size / 16, get("w/nl_bn_riv")
            expected["mean"] = get("after/nl_bn_rm")
            expected["variance"] = 0.9 * old + n / (n - 1) * (
                get("after/nl_bn_riv") - 0.9 * old)
        for name, value in expected.items():
            np.testing.assert_allclose(
                found[name], value, rtol=0,
                atol=1e-4 * max(1.0, np.abs(value).max()),
                err_msg="{} {} {}".format(case, name, settings))


def authors_block(get, settings):
    """z, dx, and the statistics after a step, of our block."""
    x, dz = (np.moveaxis(get(name), 1, -1) for name in ("x", "dz"))
    with graph_session() as session:
        block = NonLocalBlock(
            16, 8, "embedded_gaussian" if settings["softmax"]
            else "dot_product", bool(settings["maxpool"]), pool_first=True,
            scale=bool(settings["scale"] and settings["softmax"]),
            norm="batch" if settings["bn"] else None, zero_start=None,
            momentum=0.9, group_frames=settings["group"] or None)
        values = {}
        for part in ("theta", "phi", "g", "out"):
            kernel = get("w/nl_{}_w".format(part))
            values[getattr(block, part).kernel] = kernel.reshape(
                1, 1, *kernel.shape[:2]).transpose(0, 1, 3, 2)
            values[getattr(block, part).bias] = get("w/nl_{}_b".format(part))
        if settings["bn"]:
            norm = block.norm
            values.update(zip(
                (norm.gamma, norm.beta, norm.moving_mean,
                 norm.moving_variance),
                (get("w/nl_bn_" + end) for end in ("s", "b", "rm", "riv"))))
        fed = tf.constant(x)
        z = block(fed, is_training=bool(settings["train"]))
        dx, = tf1.gradients(z, fed, tf.constant(dz))
        set_values(session, values)
        z, dx, _ = session.run(
            [z, dx, tf1.get_collection(tf1.GraphKeys.UPDATE_OPS)])
        found = {"z": z, "dx": dx}
        if settings["bn"]:
            found["mean"], found["variance"] = session.run(
                [norm.moving_mean, norm.moving_variance])
        return found


@pytest.mark.parametrize("settings", [
    dict(), dict(pre_norm=True, cosine=True), dict(zero_start="kernel"),
    dict(zero_start="kernel", norm="affine"),
    dict(zero_start="kernel", norm=None)])
def test_is_the_identity_at_the_start(settings):
    x = random_input((2, 3, 5, 6))
    with graph_session() as session:
        block = NonLocalBlock(6, **settings)
        both = [block(tf.constant(x), is_training=is_training)
                for is_training in (False, True)]
        session.run(tf1.global_variables_initializer())
        for z in session.run(both):
            np.testing.assert_array_equal(z, x)


def test_dot_product_of_many_positions_makes_no_large_matrix():
    with tf.Graph().as_default() as graph:
        block = NonLocalBlock(6, 3, "dot_product")
        block(tf1.placeholder(tf.float32, [1, 40, 40, 6]), is_training=False)
        sizes = [int(np.prod(output.shape.as_list()))
                 for operation in graph.get_operations()
                 for output in operation.outputs
                 if output.shape.is_fully_defined()]
        assert max(sizes) < 1600 * 1600


def test_starts_at_one_or_frozen_where_it_is_asked_for():
    with graph_session() as session:
        block = NonLocalBlock(6, zero_start=None)
        session.run(tf1.global_variables_initializer())
        gamma, kernel = session.run([block.norm.gamma, block.out.kernel])
        assert np.all(gamma == 1) and np.all(kernel != 0)
        frozen = NonLocalBlock(6, norm="affine", zero_start="kernel")
        assert len(frozen.trainable_variables) == 4 * 2


@pytest.mark.parametrize("form, settings", [
    ("embedded_gaussian", dict(pre_norm=True, cosine=True)),
    ("embedded_gaussian", dict(sub_sample=True, pool_first=True)),
    ("gaussian", dict()), ("concatenation", dict(sub_sample=True)),
    ("dot_product", dict(cosine=True))])
def test_gradients_equal_finite_differences(form, settings):
    """d sum(c z) along a random direction, by central differences."""
    x = random_input((2, 3, 5, 6))
    random = np.random.RandomState(7)
    with graph_session() as session:
        block = NonLocalBlock(
            6, INNER, form, momentum=1.0, **settings)   # statistics stay
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
            step = 3e-3 / np.linalg.norm(direction)
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


@pytest.mark.skipif(tf.__version__ < "2",
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


@pytest.mark.parametrize("settings, words", [
    (dict(instantiation="softmax"), "embedded_gaussian, gaussian"),
    (dict(inner_channels=0), "positive"), (dict(norm="layer"), "affine"),
    (dict(sub_sample=(2, 0)), "positive"), (dict(group_frames=0), "positive"),
    (dict(norm=None), "zero_start"), (dict(zero_start="bias"), "kernel"),
    (dict(scale=True, cosine=True), "exclude"), (dict(sub_sample=2), "True"),
    (dict(sub_sample=(1, 2, 2)), "2 axes"), (dict(group_frames=2), "group"),
    (dict(channels=7), "C = 7"), (dict(shape=(2, 6)), "C = 6"),
    (dict(shape=(1, 2, 3, 4, 5, 6)), "C = 6")])
def test_what_cannot_be_is_refused(settings, words):
    settings = dict(dict(channels=6, shape=(2, 3, 5, 6)), **settings)
    x = np.zeros(settings.pop("shape"), np.float32)
    with tf.Graph().as_default(), pytest.raises(ValueError, match=words):
        NonLocalBlock(**settings)(tf.constant(x), is_training=False)
