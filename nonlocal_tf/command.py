"""What every command of the package shares: flags, lines, errors, exit code."""

import argparse
import logging as python_logging
import os
import sys
import warnings

from absl import flags, logging

from nonlocal_tf.errors import UserError

USER_ERROR = 2
INTERRUPTED = 130


class Parser(argparse.ArgumentParser):
    """Flags in any case, with "-" for "_"; an error is a `UserError`."""

    def parse(self, arguments):
        """A namespace, "~" expanded; an undeclared flag is an error."""
        flags = self.parse_args(
            [normalised(argument) for argument in arguments])
        for name, value in vars(flags).items():
            if isinstance(value, str):
                setattr(flags, name, os.path.expanduser(value))
        return flags

    def error(self, message):
        raise UserError("{} (--help lists the flags).".format(
            message[0].upper() + message[1:]))


def normalised(argument):
    """--Batch-Size=8 as --batch_size=8; anything else as it is."""
    if not argument.startswith("--"):
        return argument
    name, equals, value = argument.partition("=")
    return "--" + name[2:].lower().replace("-", "_") + equals + value


def boolean(text):
    """true, yes, on, 1 or false, no, off, 0, in any case."""
    if text.lower() in ("true", "yes", "on", "1"):
        return True
    if text.lower() in ("false", "no", "off", "0"):
        return False
    raise argparse.ArgumentTypeError(
        "must be true or false, not {!r}".format(text))


def run(program, act):
    """Calls `act` and turns what it raises into one line and an exit code.

    Args:
      program: its name, for errors.
      act: a function without arguments; returns the exit code.
    Returns:
      The exit code: that of `act`, 2 for an error that the user can mend,
      130 after Ctrl-C.
    """
    _quiet()
    try:
        return act()
    except UserError as error:
        sys.stderr.write("{}: error: {}\n".format(program, error))
        return USER_ERROR
    except KeyboardInterrupt:
        sys.stderr.write("{}: interrupted\n".format(program))
        return INTERRUPTED
    finally:
        _let_go_of_stdout()


def say(line=""):
    """Prints one line at once; a reader that is gone changes nothing."""
    try:
        print(line, flush=True)
    except (OSError, ValueError):
        _let_go_of_stdout()


def _let_go_of_stdout():
    """Keeps a reader that is gone (`| head`) from changing the exit code."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _quiet():
    """Leaves of TensorFlow's messages at start its errors alone."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    warnings.filterwarnings("ignore", category=FutureWarning)
    flags.FLAGS.mark_as_parsed()          # absl logs only after that
    logging.use_absl_handler()
    logging.set_verbosity(logging.INFO)
    logging.get_absl_handler().setFormatter(
        python_logging.Formatter("%(levelname)s: %(message)s"))
