"""docs/deployment.md, line by line: from training to the scored run.

Preflight stands in for atc, the rehearsal for msame; both get their lines.
"""

import json
import os
import re
import shlex
import shutil

import pytest
from support import ROOT, run_in_turn, shell_lines

from nonlocal_tf.command import interpreter
from nonlocal_tf.export import bins, deploy, score

PAGE = os.path.join(ROOT, "docs", "deployment.md")


def command_of(words):
    """What stands in for a line of the page: the words after `python`."""
    if words[0] == "atc":
        return ["-m", "nonlocal_tf.export.preflight"] + words[1:]
    if words[0] == "./msame":
        return ["-m", "nonlocal_tf.export.msame"] + [
            word.replace(".om", ".pb") for word in words[1:]]
    assert words[0] == "python", words
    if words[1] != "-m":
        words[1] = os.path.join(ROOT, words[1])
    return words[1:]


@pytest.mark.parametrize("model, name", [
    ("out/model.pb", "{}"), ("out/flat.pb", "{}_flat"),
    ("out/net.bin.pb", "{}_net_bin"), ("a b/my,net 1.pb", "{}_my_net_1"),
    ("\u6a21\u578b/\u7f51.pb", "{}_\u7f51")])
def test_printed_lines_fit_the_file(model, name):
    """msame takes ".bin" in a folder for a file, a comma for two."""
    words = [shlex.split(line.replace("\\\n", ""), comments=True) for line in (
        deploy.bins_command(model, [8, 784], "mnist", "my data"),
        deploy.atc_command(model, [8, 784], ["output"], "Ascend310"),
        deploy.msame_command(model, [8, 784], model[:-3]),
        deploy.score_command(model))]
    folder, results = name.format("bins"), name.format("results")
    assert words[0][0] == words[3][0] == interpreter()
    flags = bins.parse(words[0][3:])
    assert (flags.output, flags.data_url) == (folder, "my data")
    assert words[1][1] == "--model=" + model
    assert words[2][1:7] == [
        "--model", model[:-3] + ".om", "--input", folder + "/input",
        "--output", results]
    flags = score.parse(words[3][3:])
    assert (flags.output, flags.labels) == (results, folder + "/labels.npy")


@pytest.mark.parametrize("model, is_said", [
    ("out/a-b_1.net.pb", False), ("\u6a21\u578b.pb", False), ("a b.pb", True),
    ("a,b.pb", True), ("m\u00fc.pb", True)])
def test_a_path_that_atc_refuses_is_said(model, is_said):
    line = deploy.atc_command(model, [8, 784], ["output"], "Ascend310")
    assert line.startswith("# ATC takes letters") == is_said


def flags_of(line):
    """A trainer's flags but for its folders, {name: value}."""
    words = shlex.split(line)
    flags = dict(zip(words[::2], words[1::2]))
    return {name: value for name, value in flags.items()
            if name not in ("--data_url", "--train_url")}


def test_the_page_trains_what_make_demo_trains():
    """.ci/run gives the page that network: see NONLOCAL_TF_DEMO below."""
    with open(os.path.join(ROOT, "Makefile")) as file:
        makefile = file.read()
    recipe = makefile.split("$(RUN) train_gpu.py ")[1].replace(
        "$(EPOCHS)", re.search(r"\nEPOCHS \?= (\d+)", makefile).group(1))
    line = shell_lines(PAGE)[0]
    assert line.startswith("python train_gpu.py ")
    assert flags_of(line[len("python train_gpu.py "):]) == flags_of(
        recipe.replace("\\\n", " ").split("\n")[0])


def last_test(train_url):
    """Right and all images of a run's last test, as texts."""
    with open(os.path.join(train_url, "metrics.jsonl")) as file:
        found = [json.loads(line) for line in file][-1]
    return str(round(found["test_accuracy"] * found["test_images"])), str(
        found["test_images"])


@pytest.mark.slow
def test_the_page_leads_to_the_trainers_accuracy(tmp_path):
    demo = os.environ.get("NONLOCAL_TF_DEMO")
    if demo:                            # trained already, by the same line
        shutil.copytree(demo, str(tmp_path / "output" / "deploy"))
    lines = [line for line in shell_lines(PAGE)
             if not (demo and "train_gpu.py" in line)]
    done = run_in_turn([command_of(shlex.split(line)) for line in lines],
                       tmp_path)
    for command, output, code in done:
        print(command, output, sep="\n")
        assert code == "0", command
    accuracies = {
        line: re.findall(r"accuracy [\d.]+% \((\d+) of (\d+) ", output)
        for line, (_, output, _) in zip(lines, done)}
    trained = last_test(str(tmp_path / "output" / "deploy"))
    assert int(trained[0]) / int(trained[1]) > 0.95
    scored = [found for line, found in accuracies.items()
              if "export.score" in line]
    assert len(scored) == 5
    assert all(found == [trained] for found in scored)
    frozen = [found for line, found in accuracies.items()
              if "freeze_pb" in line]
    assert len(frozen) == 2
    assert all(found[0] == trained for found in frozen)
    fp16, = re.findall(r"fp16: (\d+) of 359 classes change", "".join(
        output for _, output, _ in done))
    assert int(fp16) <= 3
