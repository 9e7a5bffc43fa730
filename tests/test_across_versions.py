"""Checkpoints and frozen files of any TensorFlow are read by any.

The logits must be the same, by the network and by both of its frozen files.

NONLOCAL_TF_PYTHONS holds the interpreters, with colons between; each has a
TensorFlow of its own. `.ci/run` sets it.
"""

import os
import subprocess

import numpy as np
import pytest
from support import ROOT, environment

PYTHONS = [path for path in os.environ.get(
    "NONLOCAL_TF_PYTHONS", "").split(":") if path]


def across(python, *arguments):
    done = subprocess.run(
        [python, os.path.join(ROOT, "tests", "across.py")]
        + [str(argument) for argument in arguments], cwd=ROOT,
        env=environment(), stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, universal_newlines=True)
    assert done.returncode == 0, python + done.stdout + done.stderr


@pytest.mark.skipif(
    len(PYTHONS) < 2, reason="NONLOCAL_TF_PYTHONS names no two interpreters")
@pytest.mark.parametrize("flags, writers, readers, bound", [
    (["--resnet_size", "14", "--non_local", "res3:0;res4:0", "--max_steps",
      "6"], PYTHONS, PYTHONS, 3e-5),
    # The ten blocks: trained and frozen by the older, read by the newest.
    (["--base_width", "16", "--max_steps", "2"], PYTHONS[1:], PYTHONS[:1],
     1e-4)], ids=["all", "ten_blocks"])
def test_every_version_reads_every_file(
        flags, writers, readers, bound, tiny_set, tmp_path):
    folders = []
    for number, python in enumerate(writers):
        folders.append(tmp_path / "written_by_{}".format(number))
        across(python, "write", folders[-1], tiny_set, *flags)
    read = []
    for number, python in enumerate(readers):
        path = tmp_path / "{}.npz".format(number)
        across(python, "read", path, *folders)
        with np.load(str(path)) as arrays:
            read.append([arrays["arr_{}".format(index)]
                         for index in range(len(folders))])
    read = np.array(read)           # [reader, writer, file, image, class]
    assert read.std(axis=3).min() > 1e-4        # logits tell images apart
    for writer, python in enumerate(writers):
        # The live network's own, of the writer where it reads as well.
        expected = read[writer if python in readers else 0, writer, 0]
        difference = np.abs(read[:, writer] - expected).max(axis=(2, 3))
        print("written by {}: largest logit {:.3g}; largest difference, "
              "reader by network, flat and image file:\n{}".format(
                  python, np.abs(expected).max(), difference))
        assert difference.max() <= bound
