"""The ModelZoo scripts, and the convention's own lines on our logs."""

import os
import subprocess
import sys

import pytest
from support import ROOT, records

from nonlocal_tf.errors import UserError
from nonlocal_tf.platforms import npu_options
from nonlocal_tf.training.flags import parse_flags

SCRIPTS = os.path.join(ROOT, "scripts")


def bash(*arguments, **variables):
    environ = dict(dict(os.environ, PYTHON=sys.executable), **variables)
    return subprocess.run(
        ["bash"] + list(arguments), env=environ, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, universal_newlines=True)


def keys_of(path):
    with open(str(path)) as file:
        return dict(line.rstrip("\n").split(" = ", 1) for line in file)


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A tree with the scripts, so that their output goes elsewhere."""
    folder = tmp_path_factory.mktemp("tree")
    for name in ("scripts", "nonlocal_tf", "train_modelarts.py"):
        if name == "scripts":
            (folder / name).mkdir()
            for script in os.listdir(SCRIPTS):
                if script.endswith(".sh"):
                    os.symlink(os.path.join(SCRIPTS, script),
                               str(folder / name / script))
        else:
            os.symlink(os.path.join(ROOT, name), str(folder / name))
    return folder


def program(folder, text):
    """An executable of the shell, to stand for Python; its path."""
    path = folder / "python"
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return str(path)


@pytest.fixture(scope="module")
def full(copy, tiny_set):
    """train_full_1p.sh on the tiny set: its output folder and its run."""
    done = bash(
        str(copy / "scripts" / "train_full_1p.sh"), "--data_path=" + tiny_set,
        "--batch_size=8", "--train_epochs=2", "--platform=gpu",
        "--image_size=28", "--resnet_size=14", "--base_width=4",
        "--non_local=0", ASCEND_DEVICE_ID="")
    assert done.returncode == 0, done.stderr
    return copy / "scripts" / "output" / "0", done.stdout


@pytest.mark.slow
def test_a_full_run_leaves_the_tree_of_the_convention(full):
    names = sorted(os.listdir(str(full[0])))
    case = "Non_Local_Net_for_TensorFlow_bs8_1p_acc"
    assert names == sorted([
        case + ".log", "ckpt", "train_0.log",
        "train_{}_loss.txt".format(case)])
    assert (full[0] / "ckpt" / "PB_Model" / "model.pb").exists()


@pytest.mark.slow
def test_the_figures_are_those_of_the_metrics(full):
    folder, said = full
    last = records(folder / "ckpt", "epoch")[-1]
    keys = keys_of(folder / "Non_Local_Net_for_TensorFlow_bs8_1p_acc.log")
    assert float(keys["ActualFPS"]) == pytest.approx(
        last["images_per_second"], abs=0.01)
    assert float(keys["TrainAccuracy"]) == pytest.approx(
        last["train_accuracy"], abs=1e-4)
    assert float(keys["TestAccuracy"]) == pytest.approx(
        last["test_accuracy"], abs=1e-4)
    assert float(keys["ActualLoss"]) == pytest.approx(
        last["train_loss"], abs=1e-8)
    assert float(keys["TrainingTime"]) == pytest.approx(
        8000 / last["images_per_second"], abs=0.01)
    assert "Final Performance images/sec : " + keys["ActualFPS"] in said


def awk_of_the_convention(log, batch_size):
    """FPS, accuracy and loss as train_full_1p.sh of the ModelZoo reads them.

    Field rules of its lines: text after the last global_step/sec: among the
    lines with Loss, times the batch; fifth field of the last Accuarcy line,
    % stripped; 11 characters after Loss:.
    """
    done = bash("-c", r"""
        step_sec=$(grep Loss "$0" | tail -n 1 |
            awk -F 'global_step/sec:' '{print $2}')
        awk -v b="$1" -v s="$step_sec" 'BEGIN {printf "%.4f\n", b * s}'
        grep Accuarcy "$0" | tail -n 1 | awk '{print $5}' |
            awk -F '%' '{print $1}'
        grep Loss "$0" | tail -n 1 | awk -F 'Loss:' '{print $2}' |
            cut -c 1-11
        """, str(log), str(batch_size))
    return [float(line) for line in done.stdout.split()]


@pytest.mark.slow
def test_the_convention_reads_accuracy_and_loss_of_a_gpu_log(full):
    last = records(full[0] / "ckpt", "epoch")[-1]
    _, accuracy, loss = awk_of_the_convention(full[0] / "train_0.log", 8)
    assert accuracy == pytest.approx(100 * last["train_accuracy"], abs=0.01)
    assert loss == pytest.approx(last["train_loss"], abs=1e-8)


@pytest.mark.parametrize("arguments, variables, words", [
    ([], {}, 'para "data_path" must be confing'),
    (["--data_path=x"], {"ASCEND_DEVICE_ID": "../.."}, "whole number"),
    (["--data_path=x", "--batch_size=many"], {}, "whole numbers"),
    (["data_path=x"], {}, "arguments are --key=value"),
])
@pytest.mark.parametrize("script", [
    "train_full_1p.sh", "train_performance_1p.sh", "train_1p_ci.sh"])
def test_bad_arguments_remove_nothing(
        copy, script, arguments, variables, words):
    output = copy / "scripts" / "output" / "0"
    (output / "ckpt").mkdir(parents=True, exist_ok=True)
    earlier = [output / "ckpt" / "config.json", output / "train_0.log"]
    for path in earlier:
        path.write_text("earlier")
    before = sorted(os.listdir(str(output)))
    done = bash(str(copy / "scripts" / script), *arguments, **variables)
    assert done.returncode == 1
    assert words in done.stdout + done.stderr
    assert sorted(os.listdir(str(output))) == before
    assert [path.read_text() for path in earlier] == ["earlier"] * 2


@pytest.mark.parametrize("argument", [
    "--output_path=output/0/mine", "--output_path=output/0/new",
    "--output_path=output/0", "--data_path=output/./0/mine",
    "--init=output/../output/0/mine/model.ckpt-8", "--train_url=link/new"])
def test_a_folder_that_would_be_emptied_is_refused(copy, argument):
    """At each start; relative paths and links lead there too."""
    mine = copy / "scripts" / "output" / "0" / "mine"
    mine.mkdir(parents=True, exist_ok=True)
    (mine / "model.ckpt-8").write_text("mine")
    if not (copy / "scripts" / "link").exists():
        os.symlink(str(mine), str(copy / "scripts" / "link"))
    done = bash("-c", 'cd "$0" && bash train_full_1p.sh --data_path=x "$1"',
                str(copy / "scripts"), argument, ASCEND_DEVICE_ID="")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "emptied at each start; got " + argument.split("=")[1] in done.stderr
    assert (mine / "model.ckpt-8").read_text() == "mine"


def test_a_failed_training_fails_the_script(copy):
    done = bash(str(copy / "scripts" / "train_performance_1p.sh"),
                "--data_path=/no/such", "--platform=gpu", "--image_size=1",
                ASCEND_DEVICE_ID="7")
    assert done.returncode == 2
    assert "--image_size must be 28 to 4096" in done.stderr
    assert "exit code 2" in done.stderr


@pytest.mark.parametrize("arguments, expected", [
    (["--over_dump=True", "--profiling=True", "--autotune=True"],
     {"enable_dump_debug": True, "profiling_mode": True,
      "auto_tune_mode": "RL,GA"}),
    (["--data_dump_flag=True", "--data_dump_step=0|10-20"],
     {"enable_dump": True, "dump_step": "0|10-20"}),
    (["--data_dump_flag=True", "--data_dump_step=20-10"], None),
])
def test_the_conventions_switches_are_options_of_the_adapter(
        copy, tmp_path, arguments, expected):
    """By what the script hands over; in place of Python stands a printer."""
    done = bash(str(copy / "scripts" / "train_performance_1p.sh"),
                "--data_path=x", *arguments, ASCEND_DEVICE_ID="7",
                PYTHON=program(
                    tmp_path, "printf '%s\\n' \"$@\"\nexit 3\n"))
    assert done.returncode == 3
    lines = done.stderr.split("\n")
    config = parse_flags([line for line in lines if line.startswith("--")],
                         "train_modelarts.py", "", "npu")
    if expected is None:
        with pytest.raises(UserError, match="range upwards"):
            npu_options.of_config(config)
    else:
        found = npu_options.of_config(config)
        assert {name: found[name] for name in expected} == expected
