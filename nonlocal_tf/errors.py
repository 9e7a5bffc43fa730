"""The error that a user can mend: one line, exit code 2."""


class UserError(Exception):
    """Says in one line what was required, what arrived and what to do.

    The scripts print it without a traceback and exit with code 2.
    """


def bad(name, required, value):
    """The error of a flag's value."""
    return UserError("--{} must be {}; got {}.".format(name, required, value))
