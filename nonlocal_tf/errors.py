"""The error that a user can mend: one line, exit code 2."""

import sys


class UserError(Exception):
    """Says in one line what was required, what arrived and what to do.

    The scripts print it without a traceback and exit with code 2.
    """


def missing_packages(program, error):
    """The line for an ImportError at the start of a script."""
    return (
        "{}: error: Python needs the packages of requirements.txt; {} has not "
        "all of them ({}). Run `make demo` and use .venv/bin/python, or pip "
        "install -r requirements.txt.\n".format(
            program, sys.executable, error))


def bad(name, required, value):
    """The error of a flag's value."""
    return UserError("--{} must be {}; got {}.".format(name, required, value))
