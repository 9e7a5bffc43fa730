"""Precisions: what stays float32, how near they are, what is refused."""

import numpy as np
import pytest
import tensorflow as tf
from support import SGD, run_thin, tf1, thin_config

from nonlocal_tf.errors import UserError
from nonlocal_tf.platforms import gpu, machine, precision
from nonlocal_tf.tasks import make_network
from nonlocal_tf.training.config import TrainConfig
from nonlocal_tf.training.graph import TrainGraph


def available(kind):
    """Whether this machine and TensorFlow have a precision."""
    try:
        precision.check(kind, "CPU")
    except UserError:
        return False
    return True


needs_bfloat16 = pytest.mark.skipif(
    "not available('bfloat16')", reason="no bfloat16 on this processor, or no "
    "oneDNN in this TensorFlow")


def built(kind, device="CPU"):
    """A network in training, its logits, and the operations of its graph."""
    config = thin_config("", "x", precision=kind, batch_size=4,
                         micro_batch="4")
    with tf.Graph().as_default() as graph:
        network = make_network(config, device=device)
        logits = network(tf1.placeholder(tf.uint8, [4, 28, 28, 1]),
                         is_training=True)
        return network, logits, graph.get_operations()


@pytest.mark.parametrize("kind, dtype", [
    ("bfloat16", tf.bfloat16), ("mixed_float16", tf.float16)])
def test_softmax_statistics_and_logits_stay_float32(shallow, kind, dtype):
    network, logits, operations = built(kind)
    assert all(each.dtype.base_dtype == tf.float32
               for each in network.variables)
    assert logits.dtype == tf.float32
    seen = set()
    for op in operations:
        if op.type == "Softmax":
            assert op.inputs[0].dtype == tf.float32
        elif op.type.startswith("FusedBatchNorm"):
            assert op.inputs[0].dtype == dtype
            assert op.outputs[1].dtype == tf.float32        # the mean
        elif op.type == "Conv2D":
            assert op.outputs[0].dtype == dtype
        else:
            continue
        seen.add(op.type[:7])
    assert seen == {"Softmax", "FusedBa", "Conv2D"}


def test_a_frozen_network_is_float32_whatever_it_was_trained_in(shallow):
    _, _, operations = built("bfloat16", device=None)
    assert not any(tensor.dtype == tf.bfloat16
                   for op in operations for tensor in op.outputs)


@needs_bfloat16
def test_bfloat16_is_as_near_to_float32_as_its_8_bits(shallow):
    """2**-8 of rounding a layer; the same weights and images."""
    images = np.random.RandomState(0).randint(
        0, 256, (8, 28, 28, 1)).astype(np.uint8)
    logits = []
    with tf.Graph().as_default(), tf1.Session() as session:
        for kind in ("float32", "bfloat16"):
            tf1.set_random_seed(1)
            network = make_network(TrainConfig(
                precision=kind, image_size=28, base_width=8, micro_batch="8",
                non_local="res4:0"), device="CPU")
            logits.append(network(tf.constant(images), is_training=True))
            if kind == "float32":
                first = network
        session.run(tf1.global_variables_initializer())
        session.run([tf1.assign(a, b) for a, b in zip(
            network.variables, first.variables)])
        exact, rounded = session.run(logits)
    error = np.linalg.norm(exact - rounded) / np.linalg.norm(exact)
    assert 1e-5 < error < 0.05


@needs_bfloat16
def test_bfloat16_trains_and_no_other_precision_goes_on(
        shallow, tiny_set, tmp_path):
    result, _ = run_thin(
        tiny_set, tmp_path, precision="bfloat16", max_steps=2, **SGD)
    assert result.step == 2
    with pytest.raises(UserError, match="precision"):
        run_thin(tiny_set, tmp_path, precision="float32", **SGD)


def test_float16_has_a_loss_scale_that_halves_and_skips(shallow, monkeypatch):
    """A scale that overflows changes no weight; smaller ones do."""
    monkeypatch.setattr(precision, "check", lambda *_: None)
    config = thin_config(
        "", "x", precision="mixed_float16", micro_batch="8", non_local="0",
        **SGD)
    with tf.Graph().as_default():
        graph = TrainGraph(config, 10, gpu.Platform(config))
        scale, = [each for each in tf1.global_variables()
                  if "loss_scale" in each.op.name]
        feed = {graph.images: np.random.RandomState(0).randint(
                    0, 256, (8, 28, 28, 1)),
                graph.labels: np.arange(8)}
        with tf1.Session() as session:
            session.run(graph.initialize)
            session.run(scale.initializer, {
                scale.initializer.inputs[1]: np.float32(2.0 ** 100)})
            kernel = graph.network.dense.kernel
            before = session.run(kernel.read_value())
            session.run(graph.train_op, feed)
            same, halved, step = session.run(
                [kernel.read_value(), scale.read_value(), graph.step])
            np.testing.assert_array_equal(before, same)
            assert (halved, step) == (2.0 ** 99, 1)
            session.run(scale.initializer, {
                scale.initializer.inputs[1]: np.float32(2.0 ** 10)})
            session.run(graph.train_op, feed)
            assert np.abs(session.run(kernel.read_value()) - before).max() > 0


@pytest.mark.parametrize("flags, kind, words", [
    (True, "mixed_float16", "takes a GPU"),
    (False, "bfloat16", "no bfloat16 instructions")])
def test_what_a_cpu_has_not_is_refused_with_the_reason(
        monkeypatch, flags, kind, words):
    monkeypatch.setattr(machine, "multiplies_bfloat16", lambda: flags)
    with pytest.raises(UserError, match=words) as caught:
        precision.check(kind, "CPU")
    assert "--precision float32" in str(caught.value)


def test_bfloat16_without_onednn_is_refused(monkeypatch):
    monkeypatch.setattr(machine, "multiplies_bfloat16", lambda: True)
    monkeypatch.setattr(machine, "is_intel", lambda: True)
    monkeypatch.setenv(precision.ONEDNN, "0")
    with pytest.raises(UserError, match="has no oneDNN" if tf.__version__ <
                       "2" else "oneDNN is off"):
        precision.check("bfloat16", "CPU")


@pytest.mark.parametrize("settings, words", [
    (dict(precision="bfloat16"), "--precision_mode"),
    (dict(threads=2), "threads"), (dict(num_gpus=2), "num_gpus"),
    (dict(sync_batch_norm=True), "sync_batch_norm"),
    (dict(affinity_mb=5), "affinity_mb"),
    (dict(gradient_precision="bfloat16"), "gradient_precision"),
    (dict(micro_batch="64", loss_scale="8"), "micro_batch")])
def test_what_an_npu_cannot_do_is_refused(settings, words):
    with pytest.raises(UserError, match=words):
        TrainConfig(platform="npu", **settings)
    TrainConfig(**settings)


def test_the_cause_of_a_refusal_is_not_tensorflow_s_first_line(monkeypatch):
    def fail(*_):
        raise tf.errors.InternalError(
            None, None, "Graph execution error:\n\nDetected at node 'Conv2D' "
            "defined at (most recent call last):\nNode: 'Conv2D'\nNo "
            "algorithm worked!\n\t [[{{node Conv2D}}]]")

    monkeypatch.setattr(tf1.Session, "run", fail)
    with pytest.raises(UserError, match=r"GPU \(No algorithm worked!\)"):
        precision.check("bfloat16", "GPU")


@pytest.mark.parametrize("size, threads, beginning", [
    (1, 3, 3), (2, 1, 4), (2, 6, 6)])
def test_threads_reach_the_session(size, threads, beginning):
    """Of several processes one thread would hide no sum (benchmarks)."""
    platform = gpu.Platform(TrainConfig(threads=threads))
    platform.size = size
    config = platform.session_config()
    assert config.intra_op_parallelism_threads == threads
    assert config.inter_op_parallelism_threads == beginning
