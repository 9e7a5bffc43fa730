"""The benchmarks: their arithmetic, and each command at a tiny size."""

import contextlib
import functools
import importlib
import importlib.util
import io
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from support import (
    ROOT,
    graph_session,
    random_values,
    set_values,
    short_names,
    tf1,
)

from benchmarks import common, inputs, machine, many, memory, trace
from benchmarks.common import Column, Figure
from nonlocal_tf.architecture import (
    DEPTHS,
    INSTANTIATIONS,
    PLACEMENTS,
    STAGES,
)
from nonlocal_tf.non_local import NonLocalBlock
from nonlocal_tf.protocols import DEFAULT_PROTOCOL, VIDEO_NETWORKS, trunk
from nonlocal_tf.tasks import make_network
from nonlocal_tf.training import need
from nonlocal_tf.training.config import TrainConfig

COMMANDS = ("train_step", "inference", "block", "feed", "startup",
            "video_feed", "many")


# Runs and figures ---------------------------------------------------------

def test_contenders_take_turns_and_the_first_turn_does_not_count():
    order, now = [], [0.0]

    def contender(name, takes):
        def act():
            order.append(name)
            now[0] += takes[order.count(name) - 1]
        return act

    seconds = common.alternate(
        {"a": contender("a", [9, 1, 2]), "b": contender("b", [8, 3, 4])}, 2,
        clock=lambda: now[0])
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert seconds == {"a": [1, 2], "b": [3, 4]}
    # One may time itself.
    assert common.alternate({"a": lambda: 0.25}, 2) == {"a": [0.25, 0.25]}


def test_a_figure_is_the_median_and_the_extremes():
    assert common.figure([4, 1, 2, 3]) == Figure(2.5, 1, 4)


def test_a_ratio_is_of_medians_and_its_extremes_are_of_rounds():
    assert common.ratio([2, 4, 9], [1, 8, 3]) == Figure(4 / 3, 0.5, 3)


def test_growth_is_the_exponent():
    assert common.growth(7 * 784 ** 2, 7 * 3136 ** 2, 784, 3136) == (
        pytest.approx(2))
    assert common.growth(0, 5, 1, 2) is None


# Tables and results -------------------------------------------------------

@pytest.mark.parametrize("value, text", [
    (0, "0"), (0.0123456, "0.0123"), (1.0, "1.00"),
    (91.5e9, "91,500,000,000"), (-0.5, "-0.500"), (999.6, "1,000")])
def test_numbers_have_three_digits_and_no_exponent(value, text):
    assert common.number(value) == text


def test_a_table_is_aligned_and_names_who_is_missing():
    lines = common.table(
        [Column("contender", "name"), Column("ms", "seconds", 1000),
         Column("nobody has it", "nothing")],
        [{"name": "ours", "seconds": Figure(0.002, 0.001, 0.003)},
         {"name": "PyTorch", "missing": "not installed"},
         {"name": "other, a long name", "seconds": 0.5}])
    assert lines == ["contender           ms",
                     "ours                2.00 [1.00..3.00]",
                     "PyTorch: not installed",
                     "other, a long name  500"]


def test_a_missing_package_comes_with_its_remedy():
    assert common.missing(["json"], "x.txt") is None
    assert common.missing(["json", "no_such_package"], "x.txt") == (
        "not installed (pip install -r x.txt)")


def test_a_report_keeps_what_it_prints(tmp_path, capsys):
    path = str(tmp_path / "a.json")
    report = common.Report(
        "feed", SimpleNamespace(json=path, rounds=3), ["--rounds", "3"])
    report.table("Title", [Column("name", "name"), Column("s", "seconds")],
                 [{"name": "ours", "seconds": Figure(2.0, 1.0, 3.0)}], form="f")
    report.target("speed", 1.2, 1.1)
    report.target("seconds", 0.6, 0.5, at_most=True)
    report.target("other", None, 1)
    report.write()
    printed = capsys.readouterr().out
    assert "Title" in printed and "ours  2.00 [1.00..3.00]" in printed
    assert "speed at least 1.10: 1.20, reached" in printed
    assert "seconds at most 0.500: 0.600, not reached" in printed
    assert "other at least 1.00: not measured" in printed
    with open(path) as file:
        found = json.load(file)
    assert found["rows"] == [{
        "form": "f", "name": "ours",
        "seconds": {"median": 2.0, "min": 1.0, "max": 3.0}}]
    assert [each["reached"] for each in found["targets"]] == [
        True, False, None]
    assert found["command"] == "python -m benchmarks.feed --rounds 3"
    assert found["settings"] == {"rounds": 3}
    assert found["machine"]["cores"] == machine.cores()
    assert found["versions"]["numpy"] == np.__version__


@pytest.mark.parametrize("name, arguments", [
    ("train_step", ["--precision", "float17"]), ("feed", ["--cases", "28"]),
    ("feed", ["--rounds", "0"]), ("block", ["--forms", "cosine"]),
    ("many", ["--gbit", "0"]),
    ("block", ["--sizes", "4,-1"]), ("startup", ["--json", "results.txt"])])
def test_bad_input_is_one_line_and_code_2(name, arguments, capsys):
    module = importlib.import_module("benchmarks." + name)
    assert module.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("benchmarks.{}: error: ".format(name))
    assert error.count("\n") == 1


# Traces ----------------------------------------------------------

def node(label, start, end):
    return SimpleNamespace(
        node_name="n", timeline_label=label, all_start_nanos=10 ** 9,
        op_start_rel_nanos=int(start * 1e9), op_end_rel_nanos=int(end * 1e9))


def test_kernels_that_overlap_count_once_and_gaps_not_at_all():
    nodes = [node("a = Conv2D(x, y)", 0, 3), node("b = MatMul(x)", 1, 2),
             node("c = Conv2D(a)", 2, 4), node("_SOURCE", 6, 7)]
    found = trace.kernels(SimpleNamespace(step_stats=SimpleNamespace(
        dev_stats=[SimpleNamespace(device=name, node_stats=nodes) for name in (
            "/host:CPU", "/job:localhost/replica:0/task:0/device:CPU:0")])))
    assert trace.busy_seconds(found) == pytest.approx(5)
    names, seconds, counts = zip(*trace.by_operation(found))
    assert names == ("Conv2D", "MatMul", "n")
    assert seconds == pytest.approx((5, 1, 1)) and counts == (2, 1, 1)


def test_a_share_outside_of_kernels_is_the_rest_of_the_ratio():
    feed = importlib.import_module("benchmarks.feed")
    row = feed.figures("c", [10.0, 20.0, 10.0], [11.0] * 3, [9.0, 9.5, 10.0])
    assert row["share"] == pytest.approx((0.05, 0.0, 0.525))
    assert row["traced_share"].median == pytest.approx(1 - 9.5 / 11)


# Commands, and PyTorch's side ---------------------------------------------

# Of 16 channels: oneDNN's issue 6035 (training/gradients.py) is PyTorch's too,
# which dies of 4 with AVX2.
TINY = {
    "train_step": ["--image_size", "28", "--batchsize", "2", "--base_width",
                   "16", "--matmul_size", "32", "--profile"],
    "inference": ["--image_size", "28", "--batches", "1,2",
                  "--base_width", "4"],
    "block": ["--sizes", "4,6", "--channels", "8", "--inner_channels", "4"],
    "feed": ["--cases", "28x2", "--images", "20", "--base_width", "4"],
    "startup": ["--batchsize", "8", "--base_width", "4", "--resnet_size",
                "14", "--non_local", "1"]}
for network in VIDEO_NETWORKS:
    for name, batch in (("train_step", "--batchsize"),
                        ("inference", "--batches")):
        TINY[name + " " + network] = TINY[name] + [
            "--network", network, "--image_size", "48", batch, "2"]
# Head of the first column; a measure; its ratio to another contender.
EXPECTED = {
    "train_step": ("contender", "images_per_second", "ratio_to_pytorch",
                   "PyTorch"),
    "inference": ("contender", "images_per_second", "ratio_to_pytorch",
                  "PyTorch"),
    "block": ("contender", "seconds", "time_ratio_to_pytorch",
              "PyTorch"),
    "startup": ("process", "seconds", "ratio_to_import",
                "import tensorflow")}
EXPECTED.update({
    name: ("contender", "clips_per_second", "ratio_to_pytorch", "PyTorch")
    for name in TINY if " " in name})


of_process = memory.of_process          # `result` has another in its place


def is_installed(*packages):
    return all(map(importlib.util.find_spec, packages))


@pytest.fixture(scope="module")
def result(shallow, tmp_path_factory):
    """A command's output and file, run here with two blocks, once each."""
    @functools.lru_cache(maxsize=None)
    def run(name):
        path = str(tmp_path_factory.mktemp(name) / "results" / "found.json")
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            code = importlib.import_module(
                "benchmarks." + name.split()[0]).main([
                "--rounds", "2", "--threads", "1", "--json", path]
                + TINY[name])
        assert code == 0
        with open(path) as file:
            return printed.getvalue(), json.load(file)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "environ", os.environ.copy())
        patch.setitem(PLACEMENTS, (50, 10), {"res3": (0,), "res4": (0,)})
        for network, protocol in DEFAULT_PROTOCOL.items():
            for stage in ("res3", "res4"):
                patch.setitem(trunk(protocol, network).five, stage, (0,))
        if is_installed("torch"):
            from benchmarks import pytorch_network, pytorch_video
            patch.setattr(pytorch_network, "LENGTHS", dict.fromkeys(STAGES, 1))
            patch.setitem(pytorch_video.LENGTHS, 50, (1, 1, 1, 1))
        # Linear in N; a process each would take a minute.
        patch.setattr(memory, "of_process",
                      lambda _, settings: 1000 * settings["side"] ** 2)
        yield run


def of_same_group(rows, row, name):
    """The row of contender `name` that was measured beside `row`."""
    keys = ("precision", "batch", "form", "positions")
    found, = [each for each in rows if each.get("contender") == name
              and all(each.get(key) == row.get(key) for key in keys)]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_command_prints_a_table_and_its_ratios_are_of_medians(
        name, result, monkeypatch):
    if name == "startup":               # whole processes, each but once
        monkeypatch.setattr(common, "alternate", lambda acts, rounds: {
            name: [act() or 1.0] for name, act in acts.items()})
    printed, found = result(name)
    head, measure, ratio, other = EXPECTED[name]
    assert any(line.split()[:1] == [head] for line in printed.split("\n"))
    assert {"machine", "versions", "commit", "command", "date", "settings",
            "rows", "targets", "notes"} <= set(found)
    with_ratio = [row for row in found["rows"] if ratio in row]
    for row in with_ratio:
        reference = of_same_group(found["rows"], row, other)
        assert row[ratio]["median"] == pytest.approx(
            row[measure]["median"] / reference[measure]["median"])
    if other == "PyTorch" and not is_installed("torch"):
        assert "PyTorch: not installed" in printed and not with_ratio
    else:
        assert with_ratio
    for row in found["rows"]:
        assert row.get("peak_growth", 1.0) == pytest.approx(1.0)
        for figure in row.values():
            if isinstance(figure, dict):
                assert figure["min"] <= figure["median"] <= figure["max"]


@pytest.mark.slow
def test_the_peak_of_a_block_is_that_of_a_process_of_its_own():
    """The affinity alone of 1,600 keys and queries is 10 MB."""
    assert of_process("benchmarks.block", dict(
        form="embedded_gaussian", side=40, contender="plain", channels=8,
        inner_channels=4, batch_size=1, threads=1)) > 4 * 1600 ** 2


@pytest.mark.slow
def test_feed_writes_the_rest_of_its_quotient(result):
    printed, found = result("feed")
    row, = found["rows"]
    assert "outside of kernels" in printed
    assert row["share"]["median"] == pytest.approx(
        1 - row["kernel_seconds"]["median"] / row["step_seconds"]["median"])
    assert 0 < row["traced_share"]["median"] < 1


@pytest.mark.slow
def test_video_feed_compares_with_whoever_is_installed(
        tmp_path, monkeypatch, capsys):
    pytest.importorskip("cv2")
    pytest.importorskip("sklearn")
    from nonlocal_tf.data.video import moving_digits
    monkeypatch.setattr(os, "environ", os.environ.copy())
    monkeypatch.setattr(moving_digits, "VIDEOS", {"train": 80, "test": 80})
    moving_digits.make(str(tmp_path / "videos"))
    path, cores = str(tmp_path / "found.json"), os.sched_getaffinity(0)
    assert importlib.import_module("benchmarks.video_feed").main([
        "--videos", str(tmp_path / "videos"), "--files", "3", "--rounds", "2",
        "--json", path]) == 0
    assert os.sched_getaffinity(0) == cores
    with open(path) as file:
        rows = json.load(file)["rows"]
    assert len({row["case"] for row in rows}) == 3 and len(rows) == 12
    for row in rows:
        package = {"PyAV": "av", "mmaction2 by Decord": "mmaction"}.get(
            row["contender"])
        assert ("missing" in row) == bool(
            package and not is_installed(package))
        if "missing" not in row:
            later, = [each for each in rows if each["case"] == row["case"]
                      and each["contender"] == "ours, later"]
            assert row["ratio_of_ours"]["median"] == pytest.approx(
                later["clips_per_second"]["median"]
                / row["clips_per_second"]["median"])
    assert "not installed (see --help)" in capsys.readouterr().out or (
        is_installed("av", "mmaction"))


@pytest.mark.parametrize("core, wire_seconds, taken", [
    (0.0, 0.5, 0.9), (0.0, 0.7, 1.0), (0.2, 0.0, 1.1), (0.9, 0.7, 1.8)])
def test_the_model_hides_the_wire_behind_the_backward_pass(
        core, wire_seconds, taken):
    """Of 0.9 s: 0.6 s of them."""
    assert many.step_seconds(0.9, core, wire_seconds) == pytest.approx(taken)


WORK = many._work


def shallow_work(*arguments):
    """As `many._work`, of two blocks in four bottlenecks."""
    DEPTHS[50] = (1, 1, 1, 1)
    PLACEMENTS[50, 10] = {"res3": (0,), "res4": (0,)}
    WORK(*arguments)


@pytest.mark.slow
def test_many_sends_no_less_than_a_ring(tmp_path, monkeypatch):
    """Each of two sends all gradients once: half, and half of the sums."""
    monkeypatch.setattr(os, "environ", os.environ.copy())
    monkeypatch.setattr(many, "_work", shallow_work)
    contenders = many._contenders
    monkeypatch.setattr(many, "_contenders", lambda flags: {
        name: wanted for name, wanted in contenders(flags).items()
        if name not in (many.SYNC, many.BFLOAT16)})
    path = str(tmp_path / "found.json")
    assert many.main(["--batchsize", "2", "--base_width", "4", "--rounds", "1",
                      "--json", path]) == 0
    with open(path) as file:
        one, two, apart, sums = json.load(file)["rows"]
    assert two["ratio_to_one"]["median"] == pytest.approx(
        two["images_per_second"]["median"] / one["images_per_second"]["median"])
    assert two["share"]["median"] == pytest.approx(
        1 - two["images_per_second"]["median"]
        / apart["images_per_second"]["median"])
    assert two["core_ratio_to_one"]["median"] == pytest.approx(
        two["core_seconds"]["median"] / one["core_seconds"]["median"])
    assert sums["bytes"] == 4 * sums["parameters"]
    assert sums["sent"]["min"] >= sums["bytes"]


@pytest.mark.slow
def test_a_link_is_as_fast_as_is_wanted():
    code = (
        "import socket, threading, time\n"
        "from benchmarks import wire\n"
        "with wire.link() as names:\n"
        "    wire.limit(names, 80e6)\n"
        "    wire.enter(names[0])\n"
        "    server = socket.socket()\n"
        "    server.bind((wire.address(0), 2222))\n"
        "    server.listen(1)\n"
        "    wire.enter(names[1])\n"
        "    client = socket.create_connection((wire.address(0), 2222))\n"
        "    taken, _ = server.accept()\n"
        "    began, before = time.perf_counter(), wire.sent()\n"
        "    threading.Thread(target=client.sendall, args=(b'x' * 4000000,),\n"
        "                     daemon=True).start()\n"
        "    left = 4000000\n"
        "    while left:\n"
        "        left -= len(taken.recv(left))\n"
        "    print(time.perf_counter() - began, wire.sent() - before)\n")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          universal_newlines=True)
    if "needs root" in done.stderr:
        pytest.skip("needs root, ip and tc with tbf")
    seconds, sent = map(float, done.stdout.split())
    assert 0.35 < seconds < 0.8         # 32 Mbit at 80 a second
    assert 4.0e6 < sent < 4.5e6


@pytest.mark.slow
def test_frozen_and_foreign_networks_agree_with_the_live_one(result):
    printed, found = result("inference")
    rows = [row for row in found["rows"] if "missing" not in row]
    names = {"live graph", "PB"}
    names |= {"PyTorch"} if is_installed("torch") else set()
    names |= {"ONNX Runtime"} if is_installed("onnxruntime", "tf2onnx") else (
        set())
    assert {row["contender"] for row in rows} == names
    assert all(row["agrees"] for row in rows)
    for name in {"ONNX Runtime", "PyTorch"} - names:
        assert name + ": not installed (pip install -r requ" in printed


@pytest.mark.slow
@pytest.mark.parametrize("network", VIDEO_NETWORKS)
def test_pytorchs_network_of_clips_agrees_with_the_live_one(network, result):
    _, found = result("inference " + network)
    rows = [row for row in found["rows"] if "missing" not in row]
    names = {"live graph"} | ({"PyTorch"} if is_installed("torch") else set())
    assert {row["contender"] for row in rows} == names
    assert all(row["agrees"] for row in rows)


@pytest.mark.slow
@pytest.mark.parametrize("name", [
    name for name in TINY if name.startswith("train_step")])
def test_both_networks_have_the_same_parameters_and_first_loss(name, result):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    _, found = result(name)
    notes = {key: note[key] for note in found["notes"]
             for key in ("parameters", "first_loss")
             if note.get("precision") == "float32" and key in note}
    assert len(set(notes["parameters"].values())) == 1
    # Batch norm over two images that res5 has made single pixels.
    losses = notes["first_loss"].values()
    assert max(losses) - min(losses) < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("form", INSTANTIATIONS)
def test_blocks_of_all_forms_equal_pytorchs(form):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from benchmarks import pytorch_network
    values = inputs.block_values(form, 12, 6)
    x = inputs.normal([2, 5, 4, 12], 0)
    with graph_session() as session:
        block = NonLocalBlock(12, 6, form)
        names = short_names(block)
        assert set(names) == set(values)
        fed = tf1.placeholder("float32", x.shape)
        z = block(fed, is_training=True)
        session.run(tf1.global_variables_initializer())
        set_values(session, {names[name]: values[name] for name in names})
        ours, gradient = session.run(
            [z, tf1.gradients(z ** 2, fed)[0]], {fed: x})
    foreign = torch.tensor(x).permute(0, 3, 1, 2).requires_grad_()
    theirs = pytorch_network.non_local(
        pytorch_network.tensors(values, ()), "", foreign, True, form)
    (theirs ** 2).sum().backward()
    for mine, other in ((ours, theirs), (gradient, foreign.grad)):
        np.testing.assert_allclose(
            mine, other.detach().permute(0, 2, 3, 1).numpy(), atol=1e-4,
            rtol=1e-4)


@pytest.mark.slow
def test_flops_are_those_that_pytorch_counts(result):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from torch.utils.flop_counter import FlopCounterMode

    from benchmarks import pytorch_network
    config = TrainConfig(image_size=33, base_width=4)
    with tf1.Graph().as_default():
        network = make_network(config)
        values = random_values(network.variables, 0)
        weights = pytorch_network.tensors({
            name: values[each]
            for name, each in short_names(network).items()}, ())
    with FlopCounterMode(display=False) as counter:
        pytorch_network.network(
            weights, torch.zeros(1, 28, 28, 1), 33, is_training=False)
    assert counter.get_total_flops() == need.flops_per_image(config)


def test_no_command_imports_tensorflow_for_its_help():
    code = (
        "import sys\n"
        "for name in {!r}:\n"
        "    __import__('benchmarks.' + name)\n"
        "assert not {{'tensorflow', 'torch'}} & set(sys.modules)\n"
    ).format(COMMANDS)
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
