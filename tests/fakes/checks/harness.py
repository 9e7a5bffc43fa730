"""Runs the functions check_* of modules in one process, one by one.

    python harness.py plain adapter optimizers

Importing TensorFlow takes seconds and a fake changes the whole process, so
that ../../test_fakes.py starts few processes and reads their answers.
"""
import contextlib
import importlib
import json
import os
import sys
import tempfile
import traceback

MARK = "CHECKS "


def main(modules):
    """Prints {check: None or what went wrong}, in the order of the files."""
    answers = {}
    for module in modules:
        names = vars(importlib.import_module(module))
        for name in [name for name in names if name.startswith("check_")]:
            try:
                names[name]()
                answers[name] = None
            except BaseException:
                answers[name] = traceback.format_exc()
            print(MARK + json.dumps(answers), flush=True)


@contextlib.contextmanager
def raises(kind, text):
    try:
        yield
    except kind as error:
        assert text in str(error), "{!r} not in {!r}".format(text, error)
        return
    raise AssertionError("nothing raised, expected {!r}".format(text))


@contextlib.contextmanager
def environment(**values):
    """Variables for a while; None removes one."""
    before = {name: os.environ.get(name) for name in values}
    _set(values)
    try:
        yield
    finally:
        _set(before)


def _set(values):
    for name, value in values.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


@contextlib.contextmanager
def standard_error():
    """What C++ too writes to descriptor 2: a function gives the text."""
    with tempfile.TemporaryFile() as file:
        before = os.dup(2)
        os.dup2(file.fileno(), 2)
        text = []
        try:
            yield lambda: "".join(text)
        finally:
            os.dup2(before, 2)
            os.close(before)
            file.seek(0)
            text.append(file.read().decode("utf-8", "replace"))


def rank_table(count):
    """A version 1.0 table of one server."""
    return {
        "version": "1.0", "status": "completed", "server_count": "1",
        "server_list": [{"server_id": "127.0.0.1", "device": [
            {"device_id": str(rank), "device_ip": "192.168.100.10",
             "rank_id": str(rank)} for rank in range(count)]}]}


if __name__ == "__main__":
    main(sys.argv[1:])
