"""msame's own forms: the name of its folder, its texts and console lines."""

import os

import numpy as np

from nonlocal_tf.errors import UserError


def stamp(now):
    """msame's name of a folder: a date without zeros, then a time."""
    return "{}{}{}_{}_{}_{}_{}".format(
        now.year, now.month, now.day, now.hour, now.minute, now.second,
        now.microsecond)


def as_text(array):
    """An array as msame's TXT.

    Raises:
      UserError: msame would write raw characters.
    """
    if array.dtype in (np.int8, np.uint8):
        raise UserError(
            "msame writes {} results as raw characters in TXT. Use --outfmt "
            "BIN.".format(array.dtype))
    if array.dtype.kind == "f":
        words = ["{:g}".format(value) for value in array.ravel().tolist()]
    else:
        words = [str(int(value)) for value in array.ravel()]
    row = array.shape[-1] if array.ndim > 1 else len(words) + 1
    lines = []
    for index, word in enumerate(words, 1):
        lines.append(word + " " + ("\n" if index % row == 0 else ""))
    return "".join(lines)


def opening(model, device):
    """msame's lines up to the name of the folder."""
    return ["[INFO] " + line for line in (
        "acl init success", "open device {} success".format(device),
        "create context success", "create stream success",
        "get run mode success", "load model {} success".format(model),
        "create model description success",
        "get input dynamic gear count success",
        "create model output success")]


def averages(milliseconds, from_folder):
    """msame's lines about the times; the forms differ with the input."""
    if from_folder:
        first, form = "Inference average time : ", "{:.2f} ms"
    else:
        first, form = "Inference average time: ", "{:f} ms"
    count = len(milliseconds)
    lines = [first + form.format(sum(milliseconds) / count)]
    if count > 1:
        lines.append("Inference average time without first time: "
                     + form.format(sum(milliseconds[1:]) / (count - 1)))
    return lines if from_folder else lines + [
        "[INFO] destroy model input success"]


def closing(device):
    """msame's last lines."""
    return ["[INFO] " + line for line in (
        "unload model success, model Id is 1",
        "pid: {} Execute sample success".format(os.getpid()),
        "end to destroy stream", "end to destroy context",
        "end to reset device is {}".format(device), "end to finalize acl")]
