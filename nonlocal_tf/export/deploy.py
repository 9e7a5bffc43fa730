"""The commands that follow a frozen graph: ours and those of Ascend's tools."""

import os
import re
import shlex

from nonlocal_tf.architecture import DIGIT_CLASSES
from nonlocal_tf.command import interpreter
from nonlocal_tf.errors import UserError

# Batch sizes that an .om compiled for an open batch will take.
DYNAMIC_BATCHES = "1,8,32"
LARGEST_BATCH = 32
_WIDTH = 74                     # columns of a printed line


def check_soc_version(name):
    """Refuses what cannot be a chip's name."""
    if not re.match(r"^Ascend\d\w*$", name):
        raise UserError(
            "--soc_version must be like Ascend310 or Ascend310P3, \"Ascend\" "
            "and the name that npu-smi info shows, without blanks; got {!r}."
            .format(name))


def soc_versions(text):
    """The names of "Ascend310,Ascend310P3", each checked."""
    names = [name.strip() for name in text.split(",")]
    for name in names:
        check_soc_version(name)
        if names.count(name) > 1:
            raise UserError("--soc_version must name each chip once; got {} "
                            "twice.".format(name))
    return names


def om_stem(model, soc_version, soc_versions):
    """Path of the .om of a chip, without its ending.

    An .om runs on its chip alone: with several, the names tell them apart; so
    do those of an .onnx and of the .pb beside it.
    """
    stem, ending = os.path.splitext(model)
    stem += "_onnx" * (ending == ".onnx")
    return stem if len(soc_versions) == 1 else "_".join([stem, soc_version])


def _folder(kind, model):
    """bins or results of this model: bins_flat for flat.pb.

    msame takes ".bin" in a folder's name for a file, a comma for two.
    """
    stem, ending = os.path.splitext(os.path.basename(model))
    stem = re.sub(r"[^\w-]", "_", stem)
    folder = kind if stem == "model" else kind + "_" + stem
    return folder + "_onnx" * (ending == ".onnx" and kind != "bins")


def bins_command(model, shape, dataset, data_url):
    """The line that writes the .bin files.

    Args:
      model: path of the .pb.
      shape: of the placeholder `input`; None for an open batch.
      dataset, data_url: where the test images came from.
    """
    words = [interpreter(), "-m", "nonlocal_tf.export.bins",
             "--batchsize", str(shape[0] or LARGEST_BATCH)]
    if len(shape) == 2:
        words += ["--input_layout", "flat"]
    elif shape[1] != 224:
        words += ["--image_size", str(shape[1])]
    if dataset != "mnist":
        words += ["--dataset", dataset]
    if data_url:
        words += ["--data_url", data_url]
    return _line(words + ["--output", _folder("bins", model)])


def clip_bins_command(model, videos, root):
    """The line that writes the .bin files of a list of videos, if known."""
    return _line([interpreter(), "-m", "nonlocal_tf.export.bins", "--model",
                  model, "--data_url", videos or "LIST"] + (
                      ["--video_root", root] if root else [])
                 + ["--output", _folder("bins", model)])


def atc_command(model, shape, outputs, soc_version, name="input", framework=3,
                om=None):
    """The line that compiles `model`.

    Args:
      model: path of the .pb, or of the .onnx.
      shape: of the input `name`; None for an open batch.
      outputs: names of the output nodes; an .onnx has its own.
      soc_version: such as Ascend310 (`npu-smi info`, without spaces).
      framework: 3, TensorFlow; 5, ONNX.
      om: path of the .om without its ending; the model's by default.
    """
    sizes = ",".join("-1" if size is None else str(size) for size in shape)
    words = ["atc", "--model=" + model, "--framework={}".format(framework),
             "--output=" + (om or os.path.splitext(model)[0]),
             "--soc_version=" + soc_version,
             "--input_shape={}:{}".format(name, sizes)]
    if framework == 3:
        words.append("--out_nodes=" + ";".join(
            each + ":0" for each in outputs))
    words.append("--log=error")
    if len(shape) > 2:
        images = framework == 3 and len(shape) == 4 and shape[3] <= 4
        words.append("--input_format=" + ("NHWC" if images else "ND"))
    if shape[0] is None:
        words.append("--dynamic_batch_size=" + DYNAMIC_BATCHES)
    line = _line(words)
    if re.search("[^A-Za-z0-9._/\u4e00-\u9fa5-]", model):
        line = ("# ATC takes letters, digits, Chinese and - . _ / in a path "
                "alone: rename it first.\n" + line)
    return line


def msame_command(model, shape, om):
    """The line that runs the .om on the folder of .bin files."""
    words = ["./msame", "--model", om + ".om",
             "--input", _folder("bins", model) + "/input",
             "--output", _folder("results", model),
             "--outfmt", "TXT"]
    if shape[0] is None:
        words += ["--dymBatch", str(LARGEST_BATCH)]
    return _line(words)


def ais_bench_command(model, om):
    """The line that runs the .om by the newer tool, the guide's."""
    return _line(["python3", "-m", "ais_bench", "--model", om + ".om",
                  "--input", _folder("bins", model) + "/input",
                  "--output", _folder("results", model), "--outfmt", "TXT"])


def score_command(model, classes=DIGIT_CLASSES, labels="labels.npy"):
    """The line that scores what the tool wrote; `labels`: by bins' name."""
    words = [interpreter(), "-m", "nonlocal_tf.export.score",
             "--output", _folder("results", model),
             "--labels", "{}/{}".format(_folder("bins", model), labels)]
    if classes != DIGIT_CLASSES:
        words += ["--classes", str(classes)]
    return _line(words)


def _line(words):
    """A line for the shell, continued below where it would be too wide."""
    units = []                          # a flag and its value stay together
    for word in map(shlex.quote, words):
        if units and units[-1].startswith("--") and not (
                "=" in units[-1] or " " in units[-1] or word[0] == "-"):
            units[-1] += " " + word
        else:
            units.append(word)
    lines = [""]
    for word in units:
        if lines[-1] and len(lines[-1]) + len(word) > _WIDTH:
            lines[-1] += " \\"
            lines.append("   ")
        lines[-1] += (" " if lines[-1] else "") + word
    return "\n".join(lines)
