"""Sets the tests up: TensorFlow's start-up messages off."""

import contextlib
import gc
import os
import sys
import tempfile
import warnings

import pytest

from nonlocal_tf import command
from nonlocal_tf.architecture import DEPTHS

command.lighten()
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# Frames of videos are counted once a user: not among this one's.
os.environ["XDG_CACHE_HOME"] = os.path.join(
    tempfile.gettempdir(), "nonlocal_tf-tests")
warnings.filterwarnings("ignore", category=FutureWarning)


def pytest_collectstart():
    """Imports TensorFlow, whose lines before its log begins heed no level.

    Not in the process that only hands out tests to others: see pytest-xdist.
    """
    if "tensorflow" in sys.modules:
        return
    stderr = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        import tensorflow  # noqa: F401
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
    gc.freeze()                 # a look at all of it took a tenth of a second
    gc.set_threshold(100000)    # graphs make cycles all the time: 5 % of a run


@pytest.fixture(scope="session", autouse=True)
def plain_sessions(request):
    """Fast tests without Grappler, slow ones and other processes with it.

    But for exported files, which no process rewrites: `predict.cpu_session`.
    """
    from tensorflow.compat.v1 import ConfigProto, Session
    begin = Session.__init__

    def plain(self, target="", graph=None, config=None):
        config = config or ConfigProto()
        config.graph_options.rewrite_options.disable_meta_optimizer = True
        begin(self, target, graph, config)

    with pytest.MonkeyPatch.context() as patch:
        if request.config.option.markexpr == "not slow":
            patch.setattr(Session, "__init__", plain)
        yield


@pytest.fixture(scope="session")
def tiny_set(tmp_path_factory):
    """A folder with 70 training and 23 test images that can be learnt."""
    import support
    folder = tmp_path_factory.mktemp("tiny")
    support.write_tiny_set(folder)
    return str(folder)


@contextlib.contextmanager
def one_bottleneck_a_stage():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(DEPTHS, 50, (1, 1, 1, 1))
        yield


@pytest.fixture(scope="module")
def shallow():
    """One bottleneck a stage in place of ResNet-50's 16: quick to build."""
    with one_bottleneck_a_stage():
        yield


@pytest.fixture(scope="session")
def unbroken(tiny_set, tmp_path_factory):
    """Folder, result and output of a `shallow` run of 2 epochs of 8 steps."""
    import support
    folder = tmp_path_factory.mktemp("unbroken")
    with one_bottleneck_a_stage():
        return (folder,) + support.run_thin(tiny_set, folder)


@pytest.fixture
def planted(monkeypatch):
    """Runs `explain` on two squares whose places are known."""
    from planted import runner
    return runner(monkeypatch)
