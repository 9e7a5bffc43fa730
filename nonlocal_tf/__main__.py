"""Every command of the package: python -m nonlocal_tf COMMAND ..."""

import difflib
import importlib
import sys

from nonlocal_tf import command
from nonlocal_tf.errors import UserError

# Name -> its module, and what it does.
COMMANDS = {
    "train": ("training.command", "trains, as train_gpu.py"),
    "convert": ("convert", "takes over weights of another system, or gives "
                "ours to it"),
    "evaluate": ("evaluate", "tests a network of clips on a list of videos"),
    "classify": ("classify", "says what pictures or videos show"),
    "explain": ("explain", "shows what a block attends to, as a page and "
                "pictures"),
    "report": ("report", "writes a page of what a run did, or several"),
    "check_videos": ("check_videos", "looks for videos that cannot be used"),
    "compare_inputs": ("compare_inputs", "holds our clips beside another "
                       "system's"),
    "freeze": ("export.freeze", "writes model.pb for atc, as freeze_pb.py"),
    "preflight": ("export.preflight.__main__", "says what atc would stumble "
                  "over in a frozen graph"),
    "bins": ("export.bins", "writes the .bin files that the device reads"),
    "msame": ("export.msame", "rehearses Ascend's msame on the CPU"),
    "ais_bench": ("export.ais_bench", "rehearses Ascend's ais_bench on the "
                  "CPU"),
    "score": ("export.score", "scores what the device answered"),
}


def main(arguments=None):
    """Runs the command that the first argument names; its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        return command.run("nonlocal-tf", _list)
    name = arguments[0].replace("-", "_")
    if name not in COMMANDS:
        return command.run("nonlocal-tf", lambda: _refuse(arguments[0]))
    return command.run("nonlocal-tf", lambda: importlib.import_module(
        "nonlocal_tf." + COMMANDS[name][0]).main(arguments[1:]))


def _list():
    command.say("nonlocal-tf COMMAND [flags], or python -m nonlocal_tf COMMAND "
                "[flags]; --help behind a command lists its flags.\n")
    for name, (_, words) in COMMANDS.items():
        command.say("  {:16}{}".format(name, words))
    return 0


def _refuse(name):
    near = difflib.get_close_matches(name, COMMANDS, 1)
    raise UserError("{!r} is no command{} (Without one all are listed.)".format(
        name, "; did you mean {}?".format(near[0]) if near else "."))


if __name__ == "__main__":
    sys.exit(main())
