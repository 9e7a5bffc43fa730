"""The layer of Keras, tested in a process of its own: see keras_layer.py.

Commands, which other tests run in this one, leave Keras out of TensorFlow.
"""

import os
import subprocess
import sys

import pytest
from support import ROOT

pytestmark = pytest.mark.slow           # Keras' import, models saved and read


def test_the_layer_of_keras():
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-rs", "-p", "no:cacheprovider",
         os.path.join("tests", "keras_layer.py")], cwd=ROOT,
        env=dict(os.environ, TF_USE_LEGACY_KERAS="0"), stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, universal_newlines=True)
    print(done.stdout)
    assert done.returncode == 0
    assert " passed" in done.stdout
