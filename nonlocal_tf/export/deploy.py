"""The commands that follow a frozen graph: ours and those of Ascend's tools."""

import os
import shlex

import numpy as np

# Batch sizes that an .om compiled for an open batch will take.
DYNAMIC_BATCHES = "1,8,32"
LARGEST_BATCH = 32
INPUTS, RESULTS = "bins", "results"


def bin_bytes(shape):
    """Bytes of a float32 .bin file of a shape."""
    return int(np.prod(shape, dtype=np.int64)) * 4


def bins_command(shape, config):
    """The line that writes the .bin files.

    Args:
      shape: of the placeholder `input`; None for an open batch.
      config: the `TrainConfig`.
    """
    words = ["python", "-m", "nonlocal_tf.export.bins",
             "--batchsize", str(shape[0] or LARGEST_BATCH)]
    if len(shape) == 2:
        words += ["--input_layout", "flat"]
    elif shape[1] != 224:
        words += ["--image_size", str(shape[1])]
    if config.dataset != "mnist":
        words += ["--dataset", config.dataset]
    if config.data_url:
        words += ["--data_url", config.data_url]
    return _line(words + ["--output", INPUTS])


def atc_command(model, shape, outputs, soc_version):
    """The line that compiles `model`.

    Args:
      model: path of the .pb.
      shape: of the placeholder `input`; None for an open batch.
      outputs: names of the output nodes.
      soc_version: such as Ascend310 (`npu-smi info`, without spaces).
    """
    sizes = ",".join("-1" if size is None else str(size) for size in shape)
    words = ["atc", "--model=" + model, "--framework=3",
             "--output=" + os.path.splitext(model)[0],
             "--soc_version=" + soc_version, "--input_shape=input:" + sizes,
             "--out_nodes=" + ";".join(name + ":0" for name in outputs),
             "--log=error"]
    if len(shape) == 4:
        words.append("--input_format=NHWC")
    if shape[0] is None:
        words.append("--dynamic_batch_size=" + DYNAMIC_BATCHES)
    return _line(words)


def msame_command(model, shape):
    """The line that runs the .om on the folder of .bin files."""
    words = ["./msame", "--model", os.path.splitext(model)[0] + ".om",
             "--input", INPUTS + "/input", "--output", RESULTS,
             "--outfmt", "TXT"]
    if shape[0] is None:
        words += ["--dymBatch", str(LARGEST_BATCH)]
    return _line(words)


def score_command():
    """The line that scores what msame wrote."""
    return _line(["python", "-m", "nonlocal_tf.export.score", "--output",
                  RESULTS, "--labels", INPUTS + "/labels.npy"])


def _line(words):
    return " ".join(map(shlex.quote, words))
