"""Is the fake of Ascend's adapter strict? Training on it: test_cards.py."""

import os

import ascend
import pytest

pytestmark = pytest.mark.slow           # a process, seconds to start


def test_npu_bridge_refuses_what_the_adapter_does(tmp_path):
    done = ascend.run(
        os.path.join(ascend.FAKES, "strict.py"), [], tmp_path,
        os.path.join(ascend.FAKES, "common"),
        os.path.join(ascend.FAKES, "tf1"))
    assert done.returncode == 0, done.stdout
