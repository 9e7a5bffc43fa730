"""Rehearses Ascend's msame on the CPU: same flags, files and lines, with a .pb.

    python -m nonlocal_tf.export.msame --model output/PB_Model/model.pb \\
        --input bins/input --output results --outfmt TXT

Writes what msame would write with the .om of that .pb: the folder
<output>/<stamp> (year, month, day without zeros between, _hour_min_sec_usec),
in it <stem>_output_<i>.txt or .bin. TXT has each value followed by a blank,
six significant digits, and a line's end after each last dimension of two or
more dimensions; BIN is the raw array.

Where msame is silent or goes wrong, this refuses with one line and exit code 2:
  - a .bin whose size is not that of the input (msame runs, or reads old memory)
  - a bad or unknown flag, no --output (msame exits with 0, or writes to /)
  - an --outfmt other than TXT and BIN (msame takes it for BIN)
  - a folder of outputs whose parent is missing (msame cannot make it)
  - a folder of inputs with ".bin" in its path (msame takes it for a file)
  - files missing from the second of several folders of inputs, folders among
    them, files without an ending, or two that differ in their endings alone
  - fewer or more --input entries than the graph has inputs
  - a --dymBatch for a batch that is not open
  - TXT of int8 and uint8 results (msame writes them as raw characters)
Not rehearsed, and no flags here: --dymHW, --dymDims, --dymShape, --outputSize,
--dump and --profiler. The result is written whole or not at all. A folder of
inputs is run once, as by msame, whatever --loop says. Times are those of this
CPU.
"""

import datetime
import os
import sys

from nonlocal_tf import command, storage
from nonlocal_tf.command import say
from nonlocal_tf.errors import UserError
from nonlocal_tf.export import rehearsal


def main(arguments):
    """Runs by command-line arguments; returns the exit code."""
    return command.run("msame", lambda: rehearse(parse(arguments)))


def parse(arguments):
    """The flags as a namespace."""
    parser = command.Parser.of_module(
        "nonlocal_tf.export.msame", __doc__,
        "%(prog)s --model M.pb --output FOLDER [flags]")
    rehearsal.add_flags(parser)
    parser.add_argument(
        "--input", default="", help="a .bin for each input, with commas "
        "between; or a folder for each; nothing: zeros")
    parser.add_argument("--output", required=True, help="folder for results")
    parser.add_argument("--outfmt", choices=("TXT", "BIN"), default="BIN",
                        help="(default: %(default)s)")
    parser.add_argument("--loop", type=int, default=1,
                        help="runs, 1 to 100 (default: %(default)s)")
    parser.add_argument("--device", type=int, default=0,
                        help="0 to 255; for its line alone")
    parser.add_argument("--debug", type=command.boolean, default=False)
    flags = parser.parse(arguments)
    command.check_ranges(flags, ("loop", 1, 100), ("device", 0, 255))
    rehearsal.check_flags(flags)
    return flags


def rehearse(flags):
    """Runs the graph on the inputs and writes the results.

    Args:
      flags: the namespace of `parse`.
    Returns:
      The exit code, 0.
    Raises:
      UserError: one line; nothing is left in --output.
    """
    model = rehearsal.open_model(flags)
    runs, from_folder = _runs(model.inputs, flags)
    _check_output_folder(flags.output)
    with rehearsal.writing(flags.output), rehearsal.running(model) as run:
        _say_opening(flags, model)
        folder = os.path.join(flags.output, _stamp(datetime.datetime.now()))
        say(folder)
        milliseconds = []
        with storage.replacing_folder(folder) as partial:
            for stem, files in runs:
                arrays = _arrays(model.inputs, files)
                for _ in range(1 if from_folder else flags.loop):
                    results, taken = run(arrays)
                    milliseconds.append(taken)
                    say("Inference time: {:g}ms".format(taken))
                say("[INFO] get max dynamic batch size success")
                _write(results, os.path.join(partial, stem), flags.outfmt)
                say("[INFO] output data success")
                if from_folder:
                    say("[INFO] destroy model input success")
    _say_closing(flags, milliseconds, from_folder)
    return 0


def _runs(inputs, flags):
    """What --input asks for, in msame's order, sizes checked.

    Returns:
      A list of (stem of the results, a file for each input; none: zeros), and
      whether they come from a folder.
    """
    entries = [entry.strip() for entry in flags.input.split(",")
               if entry.strip()]
    model = os.path.splitext(os.path.basename(flags.model))[0]
    if not entries:
        return [(model, [])], False
    if len(entries) != len(inputs):
        raise UserError(
            "{!r} has {} inputs ({}); --input names {}. Give one .bin or one "
            "folder for each, with commas between.".format(
                flags.model, len(inputs), ", ".join(
                    each.name for each in inputs), len(entries)))
    from_folder = os.path.isdir(entries[0])
    if from_folder == (".bin" in entries[0]):
        raise UserError(
            "--input must name .bin files, or folders without \".bin\" in "
            "their path, which msame takes for a file; {!r} is neither."
            .format(entries[0]))
    runs = [(os.path.splitext(name)[0],
             [os.path.join(entry, name) for entry in entries])
            for name in _common_names(entries)] if from_folder else [
                (model, entries)]
    for _, files in runs:
        for each, path in zip(inputs, files):
            rehearsal.check_size(each, path)   # msame does not
    return runs, from_folder


def _common_names(folders):
    """The files of every folder, in msame's plain order."""
    names = None
    for folder in folders:
        found = sorted(
            name for name in os.listdir(folder) if not name.startswith(".")
        ) if os.path.isdir(folder) else []
        if not found or names not in (None, found):
            raise UserError(
                "Folders of inputs must hold files of the same names; {!r} "
                "holds {}.".format(folder, ", ".join(found[:3]) or "none"))
        names = found
    stems = [os.path.splitext(name)[0] for name in names]
    for name, stem in zip(names, stems):
        path = os.path.join(folders[0], name)
        if os.path.isdir(path):
            raise UserError(
                "A folder of inputs must hold .bin files alone; {!r} has the "
                "folder {!r}. Did you mean --input {}?".format(
                    folders[0], name, path))
        if "." not in name or stems.count(stem) > 1:
            raise UserError(
                "Inputs must have an ending, or msame aborts, and differ "
                "before it, or msame overwrites results; {!r} does not. "
                "Rename it.".format(name))
    return names


def _check_output_folder(path):
    """msame makes one folder, not its parents."""
    parent = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(parent):
        raise UserError(
            "--output {!r} must lie in a folder that is there, as msame makes "
            "one level alone; {!r} is not. Make it first.".format(
                path, parent))
    storage.make_folder(path, "--output")


def _arrays(inputs, files):
    """The arrays of one run, zeros without files."""
    import numpy as np
    for path in files:
        say("[INFO] start to process file:" + path)
    return [rehearsal.read_bin(entry, path)
            for entry, path in zip(inputs, files)] or [
                np.zeros(entry.shape, entry.dtype) for entry in inputs]


def _write(results, stem, outfmt):
    for index, array in enumerate(results):
        data = _text(array).encode("ascii") if outfmt == "TXT" else (
            array.astype(array.dtype.newbyteorder("<")).tobytes())
        with open("{}_output_{}.{}".format(
                stem, index, outfmt.lower()), "wb") as file:
            file.write(data)


def _text(array):
    """An array as msame's TXT.

    Raises:
      UserError: msame would write raw characters.
    """
    if array.dtype.name in ("int8", "uint8"):
        raise UserError(
            "msame writes {} results as raw characters in TXT. Use --outfmt "
            "BIN.".format(array.dtype))
    form = "{:g} " if array.dtype.kind == "f" else "{:d} "
    words = [form.format(value) for value in array.ravel().tolist()]
    if array.ndim > 1 and words:
        row = array.shape[-1]
        words[row - 1::row] = [word + "\n" for word in words[row - 1::row]]
    return "".join(words)


def _stamp(now):
    """msame's name of a folder: a date without zeros, then a time."""
    return "{}{}{}_{}_{}_{}_{}".format(
        now.year, now.month, now.day, now.hour, now.minute, now.second,
        now.microsecond)


def _say_opening(flags, model):
    """msame's lines up to the name of the folder."""
    for line in (
            "acl init success", "open device {} success".format(flags.device),
            "create context success", "create stream success",
            "get run mode success",
            "load model {} success".format(flags.model),
            "create model description success",
            "get input dynamic gear count success",
            "create model output success"):
        say("[INFO] " + line)
    if flags.debug:
        for each in model.inputs:
            say("[DEBUG] input {}: {} {}".format(
                each.name, each.dtype.name, each.shape))
        say("[DEBUG] outputs: {}".format(", ".join(model.outputs)))


def _say_closing(flags, milliseconds, from_folder):
    """msame's lines about the times, and its last; a folder's differ."""
    form = "{:.2f} ms" if from_folder else "{:f} ms"
    for name, times in (
            ("time :" if from_folder else "time:", milliseconds),
            ("time without first time:", milliseconds[1:])):
        if times:
            say("Inference average {} ".format(name)
                + form.format(sum(times) / len(times)))
    if not from_folder:
        say("[INFO] destroy model input success")
    for line in (
            "unload model success, model Id is 1",
            "pid: {} Execute sample success".format(os.getpid()),
            "end to destroy stream", "end to destroy context",
            "end to reset device is {}".format(flags.device),
            "end to finalize acl"):
        say("[INFO] " + line)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
