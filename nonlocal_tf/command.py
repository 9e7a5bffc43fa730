"""What every command of the package shares: flags, lines, errors, exit code."""

import argparse
import atexit
import contextlib
import difflib
import gc
import logging as python_logging
import os
import platform
import re
import shutil
import signal
import sys
import warnings

from nonlocal_tf.errors import UserError
from nonlocal_tf.storage import gist

USER_ERROR = 2
INTERRUPTED = 130
TERMINATED = 143
_NAMED = 10                             # of many lines
_came = []                              # SIGTERMs, until `run` has ended
_running = []                           # programs, the innermost last
_ending = []                            # see `end_at_once`


class Parser(argparse.ArgumentParser):
    """Flags in any case, with "-" for "_"; an error is a `UserError`."""

    def __init__(self, prog, description, **settings):
        super().__init__(prog=prog, description=description,
                         allow_abbrev=False, **settings)

    @classmethod
    def of_module(cls, module, description, usage=None):
        """The parser of `python -m module`, whose docstring is its help."""
        return cls("python -m " + module, description, usage=usage,
                   formatter_class=argparse.RawDescriptionHelpFormatter)

    def add_run(self):
        """The flags that name a finished network."""
        self.add_argument(
            "--train_url", default="./output", help="folder that was trained, "
            "or converted, to (default: %(default)s)")
        self.add_argument(
            "--checkpoint", default="", help="a checkpoint, in place of the "
            "newest in --train_url")

    def parse_known_args(self, args=None, namespace=None):
        """As argparse's, with "~" expanded in what is a text."""
        flags, unknown = super().parse_known_args(
            [normalised(argument) for argument in args], namespace)
        for name, value in vars(flags).items():
            if isinstance(value, str):
                setattr(flags, name, os.path.expanduser(value))
        return flags, unknown

    def parse(self, arguments):
        """A namespace; an undeclared flag is an error."""
        flags, unknown = self.parse_known_args(arguments)
        if unknown:
            near = self.near(unknown[0])
            raise UserError("{} is no flag{} (--help lists the flags.)".format(
                unknown[0], "; did you mean {}?".format(near)
                if near else "."))
        return flags

    def near(self, argument):
        """The flag that `argument` is nearly spelt like, or None."""
        name = normalised("--" + argument.lstrip("-").partition("=")[0])
        return next(iter(difflib.get_close_matches(
            name, self._option_string_actions, 1, cutoff=0.85)), None)

    def error(self, message):
        raise UserError("{} (--help lists the flags).".format(
            message[0].upper() + message[1:]))


def some(names, most):
    """The first of some names, and how many more there are."""
    return ", ".join(names[:most]) + (
        " and {} more".format(len(names) - most) if names[most:] else "")


def check_ranges(flags, *ranges):
    """Refuses numbers out of range: (name, least, most) each."""
    for name, least, most in ranges:
        if not least <= getattr(flags, name) <= most:
            raise UserError("--{} must be {} to {}; got {}.".format(
                name, least, most, getattr(flags, name)))


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


class _Terminated(BaseException):
    """SIGTERM: what is half written is taken away on the way out."""


def run(program, act):
    """Calls `act` and turns what it raises into one line and an exit code.

    Args:
      program: its name, for errors.
      act: a function without arguments; returns the exit code.
    Returns:
      The exit code: that of `act`, 2 for an error that the user can mend,
      130 after Ctrl-C, 143 after SIGTERM.
    """
    _running.append(program)
    try:
        code = _code_of(program, act)
    finally:
        _running.pop()
        _let_go_of_stdout()
    if _ending and not _running:
        with contextlib.suppress(KeyboardInterrupt):
            for last in _ending:
                last(code)
        complain()                      # a file's lines, on Python 3.7
        os._exit(code)
    return code


def _code_of(program, act):
    try:
        _quiet()
        lighten()
        with _terminable():
            return act()
    except UserError as error:
        complain("{}: error: {}".format(program, error))
    except ImportError as error:
        complain("{}: error: Python needs the packages of requirements.txt; {} "
                 "has not all of them ({}). Run `make demo` and use "
                 ".venv/bin/python, or pip install -r requirements.txt.".format(
                     program, sys.executable, error))
    except OSError as error:
        complain("{}: error: {}: {}.".format(
            program, error.filename or "A file or the output", gist(error)))
    except MemoryError:
        complain("{}: error: There is not enough memory. Give it less at a "
                 "time.".format(program))
    except Exception as error:
        # An OpError, whose package a command may do without.
        if "OpError" not in [kind.__name__ for kind in type(error).__mro__]:
            raise
        complain("{}: error: {}".format(program, stopped(error)))
    except KeyboardInterrupt:
        complain("{}: interrupted".format(program))
        return INTERRUPTED
    except _Terminated:
        return TERMINATED
    return USER_ERROR


def stopped(error):
    """An error of TensorFlow in a line."""
    return ("TensorFlow must be able to compute this here; it stopped with {}: "
            "{} Give it less at a time, or take another machine or TensorFlow."
            .format(type(error).__name__, gist(error)))


def complain(*lines):
    """Writes lines to standard error; that it is gone changes nothing."""
    with contextlib.suppress(AttributeError, OSError, ValueError):
        for line in lines:
            sys.stderr.write(line + "\n")
        sys.stderr.flush()


def end_at_once(last):
    """The outermost `run` is to end the process itself, after `last(code)`.

    Python's own end would throw threads out of TensorFlow, which aborts.
    """
    _ending.append(last)


def running():
    """The program that `run` runs, for an error outside of it."""
    return _running[-1] if _running else "nonlocal_tf"


def say(line=""):
    """Prints one line at once; a reader that is gone changes nothing.

    Raises:
      OSError: it cannot be written, as on a full disk.
    """
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    line = line.encode(encoding, "backslashreplace").decode(encoding)
    try:
        print(line, flush=True)
    except BrokenPipeError:
        _let_go_of_stdout()


def say_some(lines):
    """The first lines, indented, and how many more there are."""
    for line in lines[:_NAMED]:
        say("  " + line)
    if len(lines) > _NAMED:
        say("  and {} more".format(len(lines) - _NAMED))


def terminated():
    """Whether a SIGTERM has come that nobody has acted upon.

    Its exception may have been caught by code that knows nothing of it, such
    as an import that tries one thing and then another.
    """
    return bool(_came)


@contextlib.contextmanager
def _terminable():
    """SIGTERM ends what runs within by an exception."""
    def end(number, frame):
        _came.append(number)
        raise _Terminated

    with handled_by(end, signal.SIGTERM) as is_handled:
        try:
            yield
        finally:
            if is_handled:
                del _came[:]


def untouched_by_signals():
    """A context in which SIGTERM and Ctrl-C are ignored."""
    return handled_by(signal.SIG_IGN, signal.SIGTERM, signal.SIGINT)


@contextlib.contextmanager
def handled_by(handler, *numbers):
    """A context in which `handler` has the signals.

    Yields whether it has: in the main thread alone.
    """
    try:
        before = [signal.signal(number, handler) for number in numbers]
    except ValueError:
        yield False
        return
    try:
        yield True
    finally:
        for number, handler in zip(numbers, before):
            signal.signal(number, handler)


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
    from absl import flags, logging  # may be missing: see `run`
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    warnings.filterwarnings("ignore", category=FutureWarning)
    flags.FLAGS.mark_as_parsed()          # absl logs only after that
    logging.use_absl_handler()
    logging.set_verbosity(logging.INFO)
    logging.get_absl_handler().setFormatter(
        python_logging.Formatter("%(levelname)s: %(message)s"))


def lighten():
    """Spares this process time that TensorFlow would take; before its import.

    From 2.16 on its import brings Keras, and Keras SciPy; nothing here uses
    them. Where another Keras is asked for that is not installed, none comes.
    At the end Python would look for cycles among all that was imported.
    From 2.9 on it turns oneDNN on only where the processor has VNNI or AMX,
    and 2.9.3 to 2.21 train five times as fast with it on AVX2 alone (on Python
    3.7 the version is not looked for). Earlier: `training.command.tune`.
    """
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    if platform.machine() == "x86_64" and sys.version_info >= (3, 8):
        version = installed("tensorflow") or installed("tensorflow-cpu") or ""
        if [int(each) for each in re.findall(r"\d+", version)][:2] >= [2, 9]:
            os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    atexit.register(gc.freeze)


def interpreter():
    """What starts this Python here: `python`, or its path."""
    here, found = os.path.abspath(sys.executable), shutil.which("python")
    if found and os.path.abspath(found) == here:        # links lead out of
        return "python"                                 # an environment
    relative = os.path.relpath(here)
    return here if relative.startswith(os.pardir) else relative


def installed(name):
    """The version of an installed package, without its import, or None."""
    try:
        if sys.version_info < (3, 8):
            import pkg_resources
            return pkg_resources.get_distribution(name).version
        from importlib import metadata
        return metadata.version(name)
    except Exception:           # each of the two has errors of its own
        return None
