"""Non-local neural networks in TensorFlow (arXiv:1711.07971)."""

import importlib

__version__ = "0.1.0"

_HOMES = {
    "NonLocalBlock": "non_local",
    "ResNet": "networks.digits",
    "TrainConfig": "training.config",
    "UserError": "errors",
    "parse_placement": "architecture",
    "train": "training.loop",
}

__all__ = sorted(_HOMES) + ["__version__"]


def __getattr__(name):
    """Imports a public name when it is first used, TensorFlow with it."""
    if name not in _HOMES:
        raise AttributeError(
            "module 'nonlocal_tf' has no attribute {!r}".format(name))
    home = importlib.import_module("nonlocal_tf." + _HOMES[name])
    return getattr(home, name)
