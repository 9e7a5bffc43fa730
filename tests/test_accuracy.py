"""Final accuracy in bfloat16 beside float32, on the embedded digits."""

import subprocess
import sys

import pytest
from support import ROOT, records

from nonlocal_tf.errors import UserError
from nonlocal_tf.platforms import precision

SEEDS = (0, 1, 2)


def accuracy(folder, kind, seed):
    """Of the test, after the demo's five epochs."""
    subprocess.run(
        [sys.executable, "train_gpu.py", "--dataset", "digits", "--data_url",
         str(folder / "digits"), "--train_url", str(folder / "output"),
         "--image_size", "28", "--Epoch", "5", "--batchsize", "32",
         "--learning_rate", "1e-3", "--lr_schedule", "cosine", "--seed",
         str(seed), "--precision", kind], cwd=ROOT, check=True,
        stdout=subprocess.PIPE)
    return records(folder / "output", "epoch")[-1]["test_accuracy"]


@pytest.mark.slow
def test_bfloat16_is_within_half_a_point_of_float32(tmp_path):
    """The means over three seeds; one image of 359 is 0.28 points."""
    pytest.importorskip("sklearn", reason="the digits are scikit-learn's")
    try:
        precision.check("bfloat16", "CPU")
    except UserError as error:
        pytest.skip(str(error))
    means = []
    for kind in ("float32", "bfloat16"):
        found = [accuracy(tmp_path / "{}{}".format(kind, seed), kind, seed)
                 for seed in SEEDS]
        print(kind, " ".join("{:.2%}".format(each) for each in found))
        means.append(sum(found) / len(found))
    assert abs(means[0] - means[1]) <= 0.005
