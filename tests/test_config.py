"""Settings and flags: spellings, ranges, what is ignored."""

import dataclasses
import re
import subprocess
import sys

import pytest
from support import ROOT

from nonlocal_tf.errors import UserError
from nonlocal_tf.secrets import Mask
from nonlocal_tf.training.config import TrainConfig
from nonlocal_tf.training.flags import parse_flags


def parse(*arguments):
    return parse_flags(arguments, "train_gpu.py", "")


def test_defaults_are_the_main_job():
    config = parse()
    assert (config.epoch, config.batch_size, config.image_size) == (
        20, 128, 224)
    assert (config.resnet_size, config.learning_rate) == (50, 1e-4)
    assert sum(map(len, config.placement().values())) == 10
    assert config.data_folder() == "./dataset"
    assert config.train_url == "./output"


@pytest.mark.parametrize("arguments", [
    ["--Epoch", "3", "--batchsize", "8"],
    ["--epoch=3", "--batch_size=8"],
    ["--EPOCH", "3", "--Batch-Size", "8"],
    ["--epochs", "3", "--batch-size=8"],
])
def test_spellings_of_epoch_and_batch_size(arguments):
    config = parse(*arguments)
    assert (config.epoch, config.batch_size) == (3, 8)


@pytest.mark.parametrize("arguments, expected", [
    (["--sub_sample"], True), (["--sub_sample=on"], True),
    (["--sub_sample", "False"], False), ([], False)])
def test_spellings_of_a_switch(arguments, expected):
    assert parse(*arguments).sub_sample is expected


def test_data_path_is_data_url():
    assert parse("--data_path", "there").data_folder() == "there"


def test_mirrors_are_a_list():
    assert parse("--mirror", "http://a/, http://b/ ,").mirrors() == [
        "http://a/", "http://b/"]


def test_another_data_set_has_a_folder_of_its_own():
    assert parse("--dataset", "kmnist").data_folder() == "./dataset/kmnist"


def test_undeclared_flags_are_named_and_ignored(caplog):
    config = parse("--init-method=tcp://a", "--world_size", "8", "--seed=4")
    assert config == TrainConfig(seed=4)
    assert "--init-method=tcp://a --world_size 8" in caplog.text


@pytest.mark.parametrize("arguments, words", [
    (["--Epoc", "3"], "did you mean --epoch"),
    (["--learning-rat=3"], "did you mean --learning_rate"),
    (["-Epoch", "3"], "did you mean --epoch"),
    (["epoch", "3"], "Flags begin with --; got 'epoch'"),
])
def test_a_slip_of_the_pen_is_refused(arguments, words):
    with pytest.raises(UserError, match=words):
        parse(*arguments)


@pytest.mark.parametrize("text, shown", [
    ("http://minio:9000/clips/a@2x.avi", "http://minio:9000/clips/a@2x.avi"),
    ("obs://AK:S/K+x@bkt/a", "obs://***@bkt/a"),
    ("http://me:word@host:80/x@y", "http://***@host:80/x@y")])
def test_keys_in_a_url_are_masked_and_ports_are_not(text, shown):
    assert Mask()(text) == shown


def test_home_is_expanded(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    config = parse("--train_url=~/x", "--data_url=~/y")
    assert (config.train_url, config.data_url) == ("/home/me/x", "/home/me/y")


@pytest.mark.parametrize("arguments, required", [
    (["--image_size", "27"], "28 to 4096"),
    (["--image_size", "32", "--digit_size", "40"], "at least 40"),
    (["--epoch", "0"], "1 to 1000000"),
    (["--batchsize", "0"], "1 to 1000000"),
    (["--batchsize", "many"], "invalid int value"),
    (["--batchsize"], "expected one argument"),
    (["--resnet_size", "18"], "choose from"),
    (["--dataset", "cifar"], "choose from"),
    (["--instantiation", "softmax"], "choose from"),
    (["--inner_ratio", "0"], "above 0 and at most 1"),
    (["--inner_ratio", "nan"], "above 0 and at most 1"),
    (["--learning_rate", "-1"], "finite number above 0"),
    (["--learning_rate", "nan"], "finite number above 0"),
    (["--checkpoint_seconds", "0"], "finite number above 0"),
    (["--seed", "-1"], "0 to 4294967295"),
    (["--num_gpus", "65"], "0 to 64"),
    (["--non_local", "7"], "0 .none., 1, 5 or 10"),
    (["--sub_sample", "perhaps"], "true or false"),
    (["--non_local", "\u00b2"], "cannot read"),
    (["--base_width", "1000000000"], "1 to 1024"),
    (["--train_url", ""], "without"),
    (["--train_url", "run[1]"], "without"),
    (["--train_url", "http://bucket/run"], "a local folder, or obs://"),
    (["--train_url", "obs://"], "obs://BUCKET"),
    (["--data_url", "OBS://bucket/x"], "obs://BUCKET"),
    (["--train_url", "obs:/bucket/run"], "got 'obs:/bucket/run'"),
    (["--init", "S3:bucket/run"], "a local folder, or obs://"),
    (["--cache_dir", "obs://bucket/x"], "--cache_dir must be local"),
    (["--loss_scale", "0.5"], "a number from 1"),
    (["--loss_scale", "fixed"], "none, dynamic, or a number"),
    (["--precision_mode", "fp16"], "choose from"),
])
def test_bad_values_are_one_line(arguments, required):
    with pytest.raises(UserError, match=required) as error:
        parse(*arguments)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("url", [
    "obs://AK:hunter2@bucket/x", "s3://hunter2@bucket", "obs:/AK:hunter2@b/x",
    "obs://AK:hun/ter2@bucket/x", "http://me:hunter2@host/"])
@pytest.mark.parametrize("name", [
    "train_url", "data_url", "test_url", "video_root", "init", "class_names",
    "cache_dir"])
def test_keys_in_a_url_are_refused_and_not_repeated(name, url):
    """Before the job prints it into the log that it pushes."""
    with pytest.raises(UserError, match="--{} must be".format(name)) as error:
        parse("--network=c2d", "--{}={}".format(name, url))
    assert not re.search("AK|hun|ter2", str(error.value))


def test_unknown_setting_is_refused():
    with pytest.raises(TypeError):
        TrainConfig(learning_rat=3)


def test_settings_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrainConfig().epoch = 3


def test_two_spellings_of_a_placement_are_one_setting():
    assert TrainConfig(non_local="5").fixed_settings() == TrainConfig(
        non_local="res4:1,3,5;res3:3,1").fixed_settings()


def run_python(code):
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, universal_newlines=True)


def test_help_names_every_flag_with_its_default():
    done = subprocess.run(
        [sys.executable, "train_gpu.py", "--help"], cwd=ROOT,
        stdout=subprocess.PIPE, universal_newlines=True)
    assert done.returncode == 0
    for field in dataclasses.fields(TrainConfig):
        assert "--" + field.name in done.stdout
    assert done.stdout.count("default") == len(
        dataclasses.fields(TrainConfig))


def test_importing_the_package_does_nothing():
    done = run_python(
        "import sys, nonlocal_tf\nassert nonlocal_tf.__version__\n"
        "assert 'tensorflow' not in sys.modules\n"
        "assert 'numpy' not in sys.modules")
    assert done.returncode == 0, done.stderr


def test_clips_have_the_settings_of_their_system():
    config = parse("--network", "tsm")
    assert (config.protocol, config.frames, config.frame_interval) == (
        "mmaction2-1.x", 8, 0)
    assert config.placement() == {"res3": (0, 2), "res4": (0, 2, 4)}
    assert (config.block, config.sub_sample, config.scale) == (
        "paper", True, False)
    config = parse("--network", "c2d")
    assert (config.protocol, config.classes, config.scale) == (
        "video-nonlocal-net", None, True)
    assert not parse(
        "--network", "i3d", "--instantiation", "dot_product").scale


@pytest.mark.parametrize("arguments, part", [
    (["--network", "i3d", "--frames", "32"], "--frame_interval"),
    (["--network", "tsm", "--protocol", "paddle"], "mmaction2-1.x"),
    (["--network", "c2d", "--non_local", "res3:4"], "bottlenecks 0 to 3")])
def test_clips_that_no_system_has_are_one_line(arguments, part):
    with pytest.raises(UserError, match=part):
        parse(*arguments)


@pytest.mark.parametrize("arguments, text", [
    (["--dataset", "moving_digits"], "--network must be c2d, i3d or tsm"),
    (["--test_url", "a.txt"], "--test_url must be left out"),
    (["--dropout", "0.5"], "--dropout must be left out of --network digits"),
    (["--label_start", "0"], "--label_start must be left out"),
    (["--lr_steps", "0.5"], "or given with --lr_schedule step; got 0.5"),
    (["--network", "tsm", "--lr_steps", "0.0,0.5"], "rising shares"),
    (["--network", "tsm", "--lr_schedule", "step", "--lr_steps", ""],
     "--lr_steps must be given"),
])
def test_settings_of_clips_that_do_not_fit(arguments, text):
    with pytest.raises(UserError, match=text):
        parse(*arguments)
