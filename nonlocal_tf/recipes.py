"""How the known systems train, as data: optimizer, schedule, regularisation.

Published values; sources: docs/video.md. Shares of a run stand for the steps
or epochs that they were published as. No TensorFlow here.
"""

from typing import NamedTuple


class Recipe(NamedTuple):
    """What `--recipe` stands for; each may be chosen otherwise.

    learning_rate: of a step of `batch_size`. lr_schedule: "constant", "step"
    or "cosine". lr_steps: shares of the run after which "step" divides the
    rate by ten. warmup_epochs: in which it rises from a tenth. momentum: of
    SGD. weight_decay: of what `decays` names, added to gradients after
    `clip_norm` has limited their global norm (0: it does not). bias_rate,
    head_rate: factors of the rate of biases, and of the classifier.
    """

    learning_rate: float
    batch_size: int
    epoch: int
    optimizer: str = "sgd"
    lr_schedule: str = "step"
    lr_steps: str = ""
    warmup_epochs: float = 0.0
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 1e-4
    decays: tuple = ("weights", "biases")
    clip_norm: float = 0.0
    bias_rate: float = 1.0
    head_rate: float = 1.0


DIGITS = Recipe(1e-4, 128, 20, "adam", "constant", weight_decay=0.0)
# 400,000 steps of 64 of 234,643 videos; a tenth after 150,000 and 300,000.
_C2 = Recipe(0.01, 64, 109, lr_steps="0.375,0.75", nesterov=True)
_MM_TSM = Recipe(0.01, 64, 50, lr_steps="0.4,0.8", clip_norm=20.0,
                 decays=("weights",), bias_rate=2.0, head_rate=5.0)
_MM_I3D = Recipe(0.01, 64, 100, lr_steps="0.4,0.8", clip_norm=40.0,
                 decays=("weights", "biases", "norms"))

# Recipe -> network, or network of a protocol, or all of them: "".
RECIPES = {
    "video-nonlocal-net": {"": _C2},
    "mmaction2": {
        "c2d": _MM_I3D._replace(batch_size=256), "i3d": _MM_I3D,
        "tsm": _MM_TSM._replace(
            learning_rate=0.02, batch_size=128, lr_steps="0.5,0.9",
            warmup_epochs=5.0),
        "mmaction2-0.x tsm": _MM_TSM},
    "paddle": {"": _C2},
}


def of_protocol(protocol):
    """The recipe of a protocol's system; MindSpore's is not one of them."""
    return next((name for name in RECIPES if protocol.startswith(name)),
                "mmaction2")


def recipe(name, protocol, network):
    """The `Recipe` of a network.

    Args:
      name: a key of `RECIPES`; None: that of the protocol's system.
      protocol: a key of `protocols.PROTOCOLS`; None of the digits' network.
      network: as --network.
    """
    if network == "digits":
        return DIGITS
    rows = RECIPES[name or of_protocol(protocol)]
    return rows.get("{} {}".format(protocol, network)) or rows.get(
        network) or rows[""]
