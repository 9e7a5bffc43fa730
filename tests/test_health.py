"""What is said of attention, against NumPy and by networks that are trained."""

import glob
import json

import numpy as np
import pytest
import tensorflow as tf
from support import graph_session, random_values, records, set_values, tf1

from nonlocal_tf import health
from nonlocal_tf.architecture import INSTANTIATIONS
from nonlocal_tf.non_local import NonLocalBlock


def expected(affinity, scores):
    """The four numbers of each image, one by one."""
    found = []
    for weights, raw in zip(np.abs(affinity), np.abs(scores)):
        entropies, largest, strongest = [], [], []
        for row in weights:
            p = row / row.sum() if row.sum() else row
            entropies.append(-sum(x * np.log(x) for x in p if x > 0))
            largest.append(p.max())
            strongest.append(int(p.argmax()))
        commonest = max(strongest.count(key) for key in set(strongest))
        found.append([
            np.mean(entropies) / np.log(weights.shape[1]), np.mean(largest),
            1 - commonest / len(weights), raw.max()])
    return np.array(found)


def measured(x, **settings):
    """By `health`, and the affinity of the block."""
    with graph_session() as session:
        block = NonLocalBlock(x.shape[-1], 4, **settings)
        set_values(session, random_values(block.variables, 1))
        watched = []
        _, affinity = block(tf.constant(x), is_training=False,
                            return_affinity=True, watch=watched)
        scores, again = block.compare(*watched[0][1:])
        found, affinity, scores, again = session.run(
            [health.measure(watched), affinity, scores, again])
    np.testing.assert_allclose(again, affinity, rtol=1e-5, atol=1e-7)
    if "gaussian" in block.instantiation:
        raised = np.exp(scores - scores.max(-1, keepdims=True))
        np.testing.assert_allclose(
            affinity, raised / raised.sum(-1, keepdims=True), rtol=1e-4)
    return found[0], affinity, scores


@pytest.mark.parametrize("form, sub_sample", [
    (form, form == "embedded_gaussian") for form in INSTANTIATIONS])
def test_the_four_numbers_are_those_of_numpy(form, sub_sample):
    x = np.random.RandomState(0).randn(10, 4, 5, 6).astype(np.float32)
    found, affinity, scores = measured(
        x, instantiation=form, sub_sample=sub_sample)
    assert found.shape == (health.SAMPLES, 4)
    np.testing.assert_allclose(found, expected(affinity, scores)[:8],
                               rtol=1e-4, atol=1e-5)


def test_one_key_for_all_queries_is_dead():
    """x . x with one position far longer than the others, all one way."""
    x = np.ones((2, 3, 3, 4), np.float32)
    x[:, 1, 1] = 200
    found, _, _ = measured(x, instantiation="gaussian")
    np.testing.assert_allclose(found[:, :3], [[0, 1, 0]] * 2, atol=1e-5)
    assert found[0, 3] == 4 * 200 ** 2
    rows = health.summary(["res3/0"], found[None])
    dead, large = health.warnings(rows, "gaussian", "paper")
    assert "dead in res3/0" in dead and "65504 in res3/0" in large


def test_equal_keys_have_entropy_1_and_no_query_dependence():
    found, _, _ = measured(np.ones((1, 3, 3, 4), np.float32))
    np.testing.assert_allclose(found, [[1, 1 / 9, 0, found[0, 3]]], rtol=1e-5)


def test_a_concatenation_is_not_judged_by_its_strongest_key():
    """ReLU(a_i + b_j) is largest at the largest b_j, whatever the query."""
    x = np.random.RandomState(0).randn(4, 3, 4, 6).astype(np.float32)
    found, _, _ = measured(x, instantiation="concatenation")
    rows = health.summary(["res3/0"], found[None])
    assert health.warnings(rows, "concatenation", "paper") == []
    rows[0]["query_dependence"] = 0.0
    assert health.warnings(rows, "concatenation", "paper") == []
    assert len(health.warnings(rows, "embedded_gaussian", "paper")) == 1


def test_rows_without_any_weight_are_dead():
    x = np.zeros((1, 3, 3, 4), np.float32)
    with graph_session() as session:
        block = NonLocalBlock(4, instantiation="dot_product")
        session.run(tf1.global_variables_initializer())
        watched = []
        block(tf.constant(x), is_training=False, watch=watched)
        found = session.run(health.measure(watched))
    np.testing.assert_array_equal(found, [[[0, 0, 0, 0]]])
    assert len(health.warnings(
        health.summary(["res3/0"], found), "dot_product", "paper")) == 1


def test_a_map_of_one_position_has_neither_entropy_nor_warning():
    found, _, _ = measured(np.ones((3, 1, 1, 4), np.float32))
    row, = health.summary(["res4/5"], found[None])
    assert row["entropy"] is None and row["query_dependence"] is None
    assert health.warnings([row], "gaussian", "paper") == []
    assert health.table([row], 3, "gaussian")[2].split()[:3] == [
        "res4/5", "-", "1.000"]
    json.dumps(row, allow_nan=False)


def test_numbers_that_are_none_are_told_and_kept_out_of_json():
    row, = health.summary(["res3/0"], np.full([1, 2, 4], np.inf))
    assert set(row.values()) == {"res3/0", None}
    assert health.table([row], 2, "gaussian")[2].split() == [
        "res3/0", "-", "-", "-", "-"]
    line, = health.warnings([row], "gaussian", "pre_norm_cosine")
    assert "beyond fp16's 65504 in res3/0" in line
    assert line.endswith("overflow. Lower --learning_rate.")


def test_a_large_map_is_measured_on_some_queries(monkeypatch):
    x = np.random.RandomState(0).randn(2, 6, 6, 6).astype(np.float32)
    monkeypatch.setattr(health, "_BYTES", 4 * health.SAMPLES * 36 * 36 // 3)
    found, affinity, scores = measured(x)
    # 3 would take two of six columns.
    np.testing.assert_allclose(
        found, expected(affinity[:, ::5], scores[:, ::5]), rtol=1e-4, atol=1e-5)


def test_each_epoch_records_every_block(unbroken):
    folder, _, said = unbroken
    for epoch in records(folder, "epoch"):
        row, = epoch["attention"]
        assert sorted(row) == ["block", "entropy", "largest_score",
                               "largest_weight", "query_dependence"]
        assert row["block"] == "res4/0" and 0 <= row["entropy"] <= 1
    last = said.split("Attention in 8 images")[1].split("\n")[2].split()
    assert last[0] == "res4/0"
    assert float(last[1]) == pytest.approx(row["entropy"], abs=1e-3)
    tags = {value.tag for path in glob.glob(str(folder / "events" / "*"))
            for event in tf1.train.summary_iterator(path)
            for value in event.summary.value}
    assert "attention/res4/0/query_dependence" in tags


def test_what_is_recorded_is_what_the_checkpoint_does(
        shallow, unbroken, tiny_set):
    """The table of a frozen graph is that of the last epoch."""
    from nonlocal_tf import trained
    from nonlocal_tf.data import datasets
    from nonlocal_tf.export import inference, interface
    folder, result, _ = unbroken
    images = datasets.load_test("mnist", tiny_set)[0][:8] / np.float32(255)
    found = trained.find(str(folder), "")
    with graph_session() as session:
        graph = inference.InferenceGraph(
            found.config, interface.of(found.config, 8, "image"))
        trained.restore(session, graph.variables, result.checkpoint)
        row, = health.summary(["res4/0"], session.run(
            graph.attention, {graph.input: images}))
    last, = records(folder, "epoch")[-1]["attention"]
    assert last.pop("block") == row.pop("block") == "res4/0"
    assert last == pytest.approx(row, rel=1e-4)
