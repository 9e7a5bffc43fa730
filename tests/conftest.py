"""Sets the tests up: TensorFlow's start-up messages off."""

import os
import warnings

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
warnings.filterwarnings("ignore", category=FutureWarning)

import support  # noqa: E402


@pytest.fixture(scope="session")
def tiny_set(tmp_path_factory):
    """A folder with 70 training and 23 test images that can be learnt."""
    folder = tmp_path_factory.mktemp("tiny")
    support.write_tiny_set(folder)
    return str(folder)
