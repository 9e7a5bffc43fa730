"""What every trainer script does around `train`: flags, errors, exit code."""

import logging as python_logging
import os
import sys
import warnings

from absl import flags, logging

from nonlocal_tf.errors import UserError
from nonlocal_tf.training.flags import parse_flags

USER_ERROR = 2
INTERRUPTED = 130


def run(arguments, program, description, platform):
    """Trains by command-line arguments.

    Args:
      arguments: without the program's name.
      program, description: for --help and for errors.
      platform: name of a module in `nonlocal_tf.platforms`.
    Returns:
      The exit code: 0 done, 2 an error that the user can mend, 130 after
      Ctrl-C, 143 after SIGTERM.
    """
    _quiet()
    try:
        config = parse_flags(arguments, program, description)
        from nonlocal_tf.training.loop import train  # imports TensorFlow
        return train(config, platform).exit_code
    except UserError as error:
        sys.stderr.write("{}: error: {}\n".format(program, error))
        return USER_ERROR
    except KeyboardInterrupt:
        sys.stderr.write("{}: interrupted\n".format(program))
        return INTERRUPTED
    finally:
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
