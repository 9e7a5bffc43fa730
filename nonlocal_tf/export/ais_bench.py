"""Rehearses Ascend's ais_bench on the CPU: same flags and files, with a .pb.

    python -m nonlocal_tf.export.ais_bench --model output/PB_Model/model.pb \\
        --input bins/input --output results --outfmt TXT --batchsize 1

Writes what `python3 -m ais_bench` would write with the .om of that .pb: the
folder <output>/<YYYY_MM_DD-HH_MM_SS>, or <output>/<--output_dirname>, in it
<input's name up to its first dot>_<i>.txt, .bin or .npy; and beside that folder
<folder>_summary.json. TXT has a row for each last dimension, each value
followed by a blank, floats with six decimals; BIN is the raw array.

Of a folder the .bin and .npy files are taken, 2 before 10. Files smaller than
the input fill a batch together, the last one with its own first file again;
each then has its own part of the results.

Where ais_bench is silent or goes wrong, this refuses with one line and exit
code 2:
  - two inputs with one name up to the first dot (it overwrites results)
  - an .npy of another type than the input's (it takes the bytes as they are)
  - files of several sizes, or that hold no whole number of samples
  - folders, or halves of a list, with different numbers of files
  - a --batchsize that is not the graph's (its throughput is wrong)
  - an --output_dirname that holds earlier files (it leaves them there)
  - paths with signs other than letters, digits and _ . - / (it takes them or
    not, by its version)
Not rehearsed, and no flags here: several devices, --run_mode, --pipeline,
--profiler, --dump, --aipp_config, --output_batchsize_axis and the flags for
open shapes but --dymBatch; nor its progress bar. The results are written
whole or not at all. Times are those of this CPU, and without copies to a
device.
"""

import contextlib
import json
import os
import re
import sys
import time

from nonlocal_tf import command, storage
from nonlocal_tf.command import say
from nonlocal_tf.errors import UserError
from nonlocal_tf.export import ais_bench_inputs, rehearsal


def main(arguments):
    """Runs by command-line arguments; returns the exit code."""
    return command.run("ais_bench", lambda: rehearse(
        parse(arguments), list(arguments)))


def parse(arguments):
    """The flags as a namespace."""
    parser = command.Parser.of_module(
        "nonlocal_tf.export.ais_bench", __doc__,
        "%(prog)s --model M.pb [flags]")
    rehearsal.add_flags(parser)
    parser.add_argument(
        "--input", default=None, help=".bin or .npy files with commas "
        "between, those of the first input first; or a folder for each input; "
        "nothing: see --pure_data_type")
    parser.add_argument("--output", default=None,
                        help="folder for results (default: none are written)")
    parser.add_argument("--output_dirname", default=None,
                        help="name in --output in the place of the time")
    parser.add_argument("--outfmt", choices=("NPY", "BIN", "TXT"),
                        default="BIN", help="(default: %(default)s)")
    parser.add_argument("--batchsize", type=int, default=None,
                        help="the graph's, for the throughput")
    parser.add_argument("--loop", type=int, default=1,
                        help="runs of each batch (default: %(default)s)")
    parser.add_argument("--warmup_count", type=int, default=1,
                        help="runs before (default: %(default)s)")
    parser.add_argument("--device", type=int, default=0,
                        help="0 to 255; for its line alone")
    parser.add_argument("--pure_data_type", choices=("zero", "random"),
                        default="zero", help="bytes without --input "
                        "(default: %(default)s)")
    parser.add_argument("--display_all_summary", type=command.boolean,
                        default=False)
    flags = parser.parse(arguments)
    command.check_ranges(flags, ("loop", 1, 10 ** 9), ("device", 0, 255),
                         ("warmup_count", 0, 10 ** 9))
    rehearsal.check_flags(flags)
    _check_paths(flags)
    return flags


def _check_paths(flags):
    """Refuses the folders and paths that ais_bench refuses."""
    name = flags.output_dirname
    if name is not None and (flags.output is None or os.path.isabs(name)
                             or set(name.split("/")) & {"", ".", ".."}):
        raise UserError("--output_dirname must be a name in --output; got {!r}"
                        "{}.".format(name, "" if flags.output else
                                     " without --output"))
    for name in ("input", "output", "output_dirname"):
        path = getattr(flags, name)
        if path is not None and (not path or re.search(
                r"[^\w./,-]" if name == "input" else r"[^\w./-]", path,
                re.ASCII)):
            raise UserError(
                "--{} must have letters, digits and _ . - / alone, as some "
                "versions of ais_bench take no others; got {!r}. Use another "
                "folder.".format(name, path))


def rehearse(flags, arguments):
    """Runs the graph on the inputs and writes the results and their summary.

    Args:
      flags: the namespace of `parse`.
      arguments: those that it was made of.
    Returns:
      The exit code, 0.
    Raises:
      UserError: one line; nothing is left in --output.
    """
    model = rehearsal.open_model(flags)
    batches = ais_bench_inputs.batches(model.inputs, flags.input)
    size = _batch_size(model, flags.batchsize)
    folder = _folder(flags)
    with rehearsal.writing(flags.output), rehearsal.running(model) as run:
        _say_opening(flags, model, size, batches, folder)
        milliseconds, written = [], {}
        with storage.replacing_folder(folder) if folder else (
                contextlib.nullcontext()) as partial:
            for number, batch in enumerate(batches):
                arrays = ais_bench_inputs.arrays(
                    model.inputs, batch, flags.pure_data_type)
                if number == 0:
                    for _ in range(flags.warmup_count):
                        run(arrays)
                    say("[INFO] warm up {} done".format(flags.warmup_count))
                for _ in range(flags.loop):
                    results, taken = run(arrays)
                    milliseconds.append(taken)
                if folder:
                    written.update(_write(
                        results, batch, number, flags.outfmt, partial, folder))
        found = summary(written, arguments, milliseconds, size)
        if folder:
            storage.write_text(folder + "_summary.json", json.dumps(found))
    _say_closing(flags, found, size)
    return 0


def _batch_size(model, given):
    """That of the first input, which --batchsize must be."""
    shape = model.inputs[0].shape if model.inputs else []
    size = shape[0] if shape else 1
    if given not in (None, size):
        raise UserError(
            "--batchsize must be that of the graph, {}, or ais_bench prints a "
            "wrong throughput; got {}. It neither splits nor joins batches."
            .format(size, given))
    return size


def _folder(flags):
    """Where the results come to lie; None without --output."""
    if flags.output is None:
        return None
    folder = os.path.join(
        flags.output, flags.output_dirname or _stamp(time.localtime()))
    storage.make_folder(os.path.dirname(folder), "--output")
    if os.path.isdir(folder) and os.listdir(folder):
        raise UserError(
            "{!r} must be empty, as ais_bench leaves earlier results among "
            "the new ones. Give another --output_dirname.".format(folder))
    return folder


def _stamp(now):
    """ais_bench's name of a folder."""
    return time.strftime("%Y_%m_%d-%H_%M_%S", now)


def _write(results, batch, number, outfmt, partial, folder):
    """Writes the results of a batch, a file for each of its files.

    Args:
      partial: where they are written; `folder`: where they come to lie.
    Returns:
      Number of a sample -> its files, as the summary has them.
    """
    import numpy as np
    count = len(batch.files[0])
    samples = {
        number * count + sample: {
            "infiles": [files[sample] for files in batch.files],
            "outfiles": []} for sample in range(batch.kept)}
    for index, array in enumerate(results):
        if not array.size or not array.ndim or array.shape[0] % count:
            raise UserError(
                "Each output must have a first dimension that {} files can "
                "share; output {} is {}. Name others with --out_nodes.".format(
                    count, index, list(array.shape)))
        for sample, part in zip(samples, np.split(array, count)):
            name = "{}_{}.{}".format(
                ais_bench_inputs.stem_of(samples[sample]["infiles"][0]),
                index, outfmt.lower())
            _write_one(part, os.path.join(partial, name), outfmt)
            samples[sample]["outfiles"].append(os.path.join(folder, name))
    return samples


def _write_one(array, path, outfmt):
    import numpy as np
    with open(path, "wb") as file:
        if outfmt == "NPY":
            np.save(file, array)
        elif outfmt == "TXT":
            file.write(text(array).encode("ascii"))
        else:
            file.write(array.astype(array.dtype.newbyteorder("<")).tobytes())


def text(array):
    """An array as ais_bench's TXT: a row for each last dimension."""
    form = "%f " if array.dtype.kind == "f" else "%d "
    return "".join("".join(form % value for value in row) + "\n"
                   for row in array.reshape(-1, array.shape[-1]).tolist())


def summary(samples, arguments, milliseconds, batch_size):
    """What the summary's file has; a CPU copies nothing to a device."""
    times = _statistics(milliseconds)
    return {
        "filesinfo": samples, "args": ["ais_bench"] + arguments,
        "NPU_compute_time": times, "H2D_latency": _statistics([]),
        "D2H_latency": _statistics([]), "npu_compute_time_list": milliseconds,
        "throughput": 1000 * batch_size / times["mean"], "pid": os.getpid()}


def _statistics(values):
    import numpy as np
    made = {"min": np.min, "max": np.max, "mean": np.mean,
            "median": np.median,
            "percentile(99%)": lambda each: np.percentile(each, 99)}
    return dict({name: float(of(values)) if values else 0.0
                 for name, of in made.items()}, count=len(values))


def _say_opening(flags, model, size, batches, folder):
    """ais_bench's lines before the first run."""
    lines = ["acl init success",
             "open device {} success".format(flags.device),
             "create new context",
             "load model {} success".format(flags.model),
             "create model description success"]
    if flags.batchsize is None:
        lines.append("try get model batchsize:{}".format(size))
    if folder:
        lines.append("output path:{}".format(folder))
    if flags.input is not None:
        wanted, count = model.inputs[0].bytes, len(batches[0].files[0])
        lines.append(
            "get filesperbatch files0 size:{} tensor0size:{} filesperbatch:{} "
            "runcount:{}".format(wanted // count, wanted, count, len(batches)))
    for line in lines:
        say("[INFO] " + line)


def _say_closing(flags, found, size):
    """ais_bench's lines about the times, and its last."""
    times = found["NPU_compute_time"]
    say("[INFO] -----------------Performance Summary------------------")
    for name in ("H2D_latency", "NPU_compute_time", "D2H_latency"):
        if flags.display_all_summary or name == "NPU_compute_time":
            say("[INFO] {} (ms): {}".format(name, ", ".join(
                "{} = {}".format(key, value)
                for key, value in found[name].items() if key != "count")))
    say("[INFO] throughput 1000*batchsize.mean({})/NPU_compute_time.mean({}): "
        "{}".format(size, times["mean"], found["throughput"]))
    say("[INFO] ------------------------------------------------------")
    for line in ("unload model success, model Id is 1",
                 "end to reset device {}".format(flags.device),
                 "end to finalize acl"):
        say("[INFO] " + line)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
