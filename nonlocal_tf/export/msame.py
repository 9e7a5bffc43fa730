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

import sys

from nonlocal_tf import command
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
    from nonlocal_tf.export.rehearsal import rehearse  # imports TensorFlow
    rehearse(flags)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
