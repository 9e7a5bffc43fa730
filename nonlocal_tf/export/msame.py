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
  - a --dym... flag that does not fit: nothing is open, another name or size
  - TXT of int8 and uint8 results (msame writes them as raw characters)
  - --dump and --profiler, which need the device
The result is written whole or not at all. A folder of inputs is run once, as
by msame, whatever --loop says. Times are those of this CPU.
"""

import datetime
import os
import sys
import time
from typing import Any, NamedTuple

from nonlocal_tf import command, storage
from nonlocal_tf.command import say
from nonlocal_tf.errors import UserError

_DYNAMIC = ("dymbatch", "dymhw", "dymdims", "dymshape")


def main(arguments):
    """Runs by command-line arguments; returns the exit code."""
    return command.run("msame", lambda: _rehearse(parse(arguments)))


def parse(arguments):
    """The flags as a namespace."""
    parser = command.Parser.of_module(
        "nonlocal_tf.export.msame", __doc__,
        "%(prog)s --model M.pb --output FOLDER [flags]")
    parser.add_argument("--model", required=True, help="the frozen graph")
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
    parser.add_argument("--dump", type=command.boolean, default=False)
    parser.add_argument("--profiler", type=command.boolean, default=False)
    for name, text in (
            ("dymBatch", "size of an open batch, to 2048"),
            ("dymHW", '"height,width" of an open image'),
            ("dymDims", '"input:32,784;..."'),
            ("dymShape", "the same; needs --outputSize"),
            ("outputSize", "bytes of each output, at least")):
        parser.add_argument("--" + name, "--" + name.lower(),
                            dest=name.lower(), help=text)
    parser.add_argument(
        "--out_nodes", default="", help="not msame's: the outputs, as given to "
        "atc (default: those that nothing reads)")
    flags = parser.parse(arguments)
    command.check_ranges(flags, ("loop", 1, 100), ("device", 0, 255))
    for name in ("dump", "profiler"):
        if getattr(flags, name):
            raise UserError("--{} needs the device; leave it out of the "
                            "rehearsal.".format(name))
    _check_dynamic(flags)
    return flags


def _check_dynamic(flags):
    given = [name for name in _DYNAMIC if getattr(flags, name) is not None]
    if len(given) > 1:
        raise UserError("--{} and --{} exclude each other; give one.".format(
            *given[:2]))
    if flags.dymshape and not (flags.input and flags.outputsize):
        raise UserError("--dymShape needs --input and --outputSize.")
    if flags.dymbatch is not None and not (
            flags.dymbatch.isdigit() and 1 <= int(flags.dymbatch) <= 2048):
        raise UserError("--dymBatch must be 1 to 2048; got {!r}.".format(
            flags.dymbatch))


def _rehearse(flags):
    rehearse(flags)
    return 0


def rehearse(flags):
    """Runs the graph on the inputs and writes the results.

    Args:
      flags: the namespace of msame.py.
    Raises:
      UserError: one line; nothing is left in --output.
    """
    import tensorflow as tf

    from nonlocal_tf.export import graphdef, run
    tf.compat.v1.logging.set_verbosity(tf.compat.v1.logging.ERROR)
    if flags.model.endswith(".om"):
        raise UserError("The rehearsal runs the .pb that atc was given; got "
                        "{!r}.".format(flags.model))
    graph_def = graphdef.read(flags.model)
    inputs = inputs_of(graph_def, flags)
    groups, from_folder = runs_of(inputs, flags)
    outputs = _output_names(graph_def, flags)
    _check_output_folder(flags.output)
    try:
        with tf.Graph().as_default() as graph, run.cpu_session() as session:
            graphdef.load(graph_def, flags.model)
            fetches = [_tensor(graph, name) for name in outputs]
            _check_outputs(fetches, flags)
            _say_opening(flags, inputs, outputs)
            folder = os.path.join(flags.output, stamp(
                datetime.datetime.now()))
            say(folder)
            milliseconds = []
            with storage.replacing_folder(folder) as partial:
                for each in groups:
                    results = _run(
                        session, each.files, inputs, fetches,
                        1 if from_folder else flags.loop, milliseconds)
                    _write(results, os.path.join(partial, each.stem), flags)
                    say("[INFO] output data success")
                    if from_folder:
                        say("[INFO] destroy model input success")
    except (MemoryError, ValueError, TypeError, tf.errors.OpError) as error:
        raise UserError("The model could not be executed: {} Do the inputs "
                        "fit the graph?".format(storage.gist(error)))
    except OSError as error:
        raise UserError(
            "--output {!r} must take the results; {}. Free some space or name "
            "another folder.".format(flags.output, error.strerror or error))
    for line in averages(milliseconds, from_folder) + closing(
            flags.device):
        say(line)


def _say_opening(flags, inputs, outputs):
    for line in opening(flags.model, flags.device):
        say(line)
    if flags.debug:
        for each in inputs:
            say("[DEBUG] input {}: {} {}".format(
                each.name, each.dtype.name, each.shape))
        say("[DEBUG] outputs: {}".format(", ".join(outputs)))


def _output_names(graph_def, flags):
    """Names of the output nodes, in the order of an .om."""
    from nonlocal_tf.export import graphdef
    if not flags.out_nodes:
        return [node.name for node in graphdef.leaves(graph_def)]
    names = [name.strip() for name in flags.out_nodes.strip(";").split(";")]
    nodes = graphdef.by_name(graph_def)
    for name in names:
        if graphdef.source(name) not in nodes:
            raise UserError(
                "--out_nodes must name nodes of {!r}; it has no {!r}.".format(
                    flags.model, name))
    return names


def _tensor(graph, name):
    try:
        return graph.get_tensor_by_name(name if ":" in name else name + ":0")
    except (KeyError, ValueError):
        raise UserError("The graph has no output {!r}. Name one with "
                        "--out_nodes.".format(name))


def _check_outputs(tensors, flags):
    """Types that msame's files can hold."""
    import tensorflow as tf
    if not tensors:
        raise UserError("{!r} has no output. Name one with --out_nodes.".format(
            flags.model))
    for tensor in tensors:
        dtype = tensor.dtype
        if not (dtype.is_floating or dtype.is_integer or dtype.is_bool) or (
                dtype == tf.bfloat16):
            raise UserError(
                "Outputs must be float, int or bool; {!r} is {}. Name others "
                "with --out_nodes.".format(tensor.name, dtype.name))


def _check_output_folder(path):
    """msame makes one folder, not its parents."""
    parent = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(parent):
        raise UserError(
            "--output {!r} must lie in a folder that is there, as msame makes "
            "one level alone; {!r} is not. Make it first.".format(
                path, parent))
    storage.make_folder(path, "--output")


def _run(session, files, inputs, fetches, loops, milliseconds):
    """Runs once, or in a loop; appends the times; returns the last results."""
    import numpy as np
    feed = {}
    for each, path in zip(inputs, files or [None] * len(inputs)):
        if path is None:
            array = np.zeros(each.shape, each.dtype)
        else:
            say("[INFO] start to process file:" + path)
            array = np.fromfile(path, each.dtype).reshape(each.shape)
        feed[each.name + ":0"] = array
    for _ in range(loops):
        began = time.perf_counter()
        results = session.run(fetches, feed)
        milliseconds.append(1000 * (time.perf_counter() - began))
        say("Inference time: {:g}ms".format(milliseconds[-1]))
    say("[INFO] get max dynamic batch size success")
    return results


def _write(results, stem, flags):
    import numpy as np
    sizes = numbers("--outputSize", flags.outputsize) if (
        flags.outputsize) else []
    for index, array in enumerate(results):
        array = np.asarray(array)
        if index < len(sizes) and array.nbytes > sizes[index]:
            raise UserError(
                "--outputSize gives output {} {} bytes; it has {}.".format(
                    index, sizes[index], array.nbytes))
        path = "{}_output_{}".format(stem, index)
        if flags.outfmt == "TXT":
            with open(path + ".txt", "w", encoding="ascii") as file:
                file.write(as_text(array))
        else:
            with open(path + ".bin", "wb") as file:
                file.write(array.astype(
                    array.dtype.newbyteorder("<")).tobytes())


class Input(NamedTuple):
    """An input of the graph."""

    name: str
    dtype: Any                          # little-endian
    shape: list                         # every size known


class Run(NamedTuple):
    """Files that make one run: one for each input; none: zeros."""

    stem: str                           # of the results' names
    files: list


def inputs_of(graph_def, flags):
    """The graph's inputs, what is open set by the flags.

    Args:
      graph_def: a frozen graph.
      flags: the namespace of msame.py.
    Returns:
      `Input`s in the graph's order.
    Raises:
      UserError: an input is no number, or a flag does not fit.
    """
    from nonlocal_tf.export import graphdef
    nodes = graphdef.placeholders(graph_def)
    names = [node.name for node in nodes]
    for name in _given_sizes(flags):
        if name not in names:
            raise UserError("{!r} has no input {!r} (there: {}).".format(
                flags.model, name, ", ".join(names)))
    return [Input(node.name, _dtype(node, flags), _shape(node, flags))
            for node in nodes]


def runs_of(inputs, flags):
    """What --input asks for, in msame's order, sizes checked.

    Returns:
      A list of `Run`s, and whether they come from a folder.
    """
    runs, from_folder = _runs(inputs, flags)
    for run in runs:
        for each, path in zip(inputs, run.files):
            _check_size(each, path)
    return runs, from_folder


def _dtype(node, flags):
    import numpy as np
    import tensorflow as tf

    from nonlocal_tf.export import graphdef
    kind = graphdef.attribute_type(node, "dtype")
    dtype = tf.as_dtype(kind) if kind else tf.string
    if not (dtype.is_floating or dtype.is_integer or dtype.is_bool):
        raise UserError(
            "Inputs must be numbers; {!r} of {!r} is {}. Freeze a graph that "
            "decodes nothing.".format(node.name, flags.model, dtype.name))
    return np.dtype(dtype.as_numpy_dtype).newbyteorder("<")


def _shape(node, flags):
    """Sizes of a Placeholder, what is open filled in by the flags."""
    from nonlocal_tf.export import graphdef
    declared = graphdef.declared_shape(node)
    shape = _asked_shape(node, declared, flags)
    if shape is not None and declared is not None and (
            len(shape) != len(declared) or any(
                old not in (None, new)
                for new, old in zip(shape, declared))):
        raise UserError(
            "The flags must fit the input {!r} of {!r}, which is {} (-1: "
            "open); they ask for {}. Only what is open can be set.".format(
                node.name, flags.model,
                [-1 if size is None else size for size in declared], shape))
    if shape is None or None in shape:
        raise UserError(
            "Each size of the input must be known; {!r} of {!r} is {}. Give "
            "--dymBatch, or freeze with a fixed --batchsize.".format(
                node.name, flags.model, "of unknown rank" if shape is None
                else [-1 if size is None else size for size in shape]))
    return shape


def _asked_shape(node, declared, flags):
    """The sizes that the flags ask for, None where open; None: no rank."""
    given = _given_sizes(flags).get(node.name)
    if given is not None:
        return given
    if declared is None:
        return None
    if flags.dymbatch:
        return [int(flags.dymbatch)] + declared[1:]
    if flags.dymhw:
        sizes = numbers("--dymHW", flags.dymhw)
        if len(sizes) != 2 or len(declared) != 4:
            raise UserError(
                "--dymHW must be height,width of an image input; got {!r} for "
                "{!r}.".format(flags.dymhw, node.name))
        return declared[:1] + sizes + declared[3:]
    return declared


def _given_sizes(flags):
    """--dymDims or --dymShape as {name: sizes}."""
    text = flags.dymdims or flags.dymshape or ""
    given = {}
    for part in text.strip(";").split(";") if text else ():
        name, _, sizes = part.strip().rpartition(":")
        given[name] = numbers("--dymDims", sizes)
    return given


def numbers(flag, text):
    """Whole numbers above 0, with commas between."""
    try:
        found = [int(number) for number in text.split(",")]
    except ValueError:
        found = []
    if not found or min(found) < 1:
        raise UserError("{} must be numbers above 0 with commas between; got "
                        "{!r}.".format(flag, text))
    return found


def _runs(inputs, flags):
    entries = [entry.strip() for entry in flags.input.split(",")
               if entry.strip()]
    model = os.path.splitext(os.path.basename(flags.model))[0]
    if not entries:
        return [Run(model, [])], False
    if len(entries) != len(inputs):
        raise UserError(
            "{!r} has {} inputs ({}); --input names {}. Give one .bin or one "
            "folder for each, with commas between.".format(
                flags.model, len(inputs), ", ".join(
                    each.name for each in inputs), len(entries)))
    if not os.path.isdir(entries[0]):
        if ".bin" not in entries[0]:
            raise UserError(
                "--input must name .bin files or folders; {!r} is neither."
                .format(entries[0]))
        return [Run(model, entries)], False
    if ".bin" in entries[0]:
        raise UserError(
            "msame takes any path with \".bin\" in it for a file, so also the "
            "folder {!r}. Rename it.".format(entries[0]))
    return [
        Run(os.path.splitext(name)[0],
            [os.path.join(entry, name) for entry in entries])
        for name in _common_names(entries)], True


def _check_names(folder, names):
    """Files alone, of which each names its own results."""
    for name in names:
        if os.path.isdir(os.path.join(folder, name)):
            raise UserError(
                "A folder of inputs must hold .bin files alone; {!r} has the "
                "folder {!r}. Did you mean --input {}?".format(
                    folder, name, os.path.join(folder, name)))
    stems = [os.path.splitext(name)[0] for name in names]
    for name, stem in zip(names, stems):
        if "." not in name:
            raise UserError("Inputs must have an ending, or msame aborts; {!r} "
                            "has none. Rename it.".format(name))
        if stems.count(stem) > 1:
            raise UserError(
                "Inputs must differ before their endings, or msame overwrites "
                "results; {!r} does not. Rename it.".format(name))


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
    _check_names(folders[0], names)
    return names


def _check_size(each, path):
    """msame does not: a wrong size runs, or fails on the device."""
    import numpy as np
    wanted = int(np.prod(each.shape, dtype=np.int64)) * each.dtype.itemsize
    try:
        received = os.path.getsize(path)
    except OSError as error:
        raise UserError("{!r} must be a file of {:,} bytes; {}.".format(
            path, wanted, error.strerror))
    if received != wanted:
        raise UserError(
            "{!r} must have {:,} bytes, {} {} for the input {!r}; it has {:,}."
            " Write it by bins with the --batchsize, --input_layout and "
            "--image_size of the graph; move it away if it is no input."
            .format(path, wanted, " x ".join(map(str, each.shape)),
                    each.dtype.name, each.name, received))


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
    import numpy as np
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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
