"""What mmaction2's own code computes from weights by rule.

    pip install torch mmengine mmcv-lite==2.1.0
    pip install --no-deps mmaction2==1.2.0
    python tests/peer_mmaction2.py          (writes vectors/video.json)

Its networks are made thin by an eighth of every width.
"""

import json
import os
import sys
import types

import numpy as np
import rule

VECTORS = os.path.join(os.path.dirname(__file__), "vectors", "video.json")
WIDTH, CLASSES, BATCH = 8, 20, 2
MEAN, DEVIATION = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)

_I3D = dict(
    conv1_kernel=(5, 7, 7), conv1_stride_t=2, pool1_stride_t=2,
    inflate=((1, 1, 1), (1, 0, 1, 0), (1, 0, 1, 0, 1, 0), (0, 1, 0)),
    conv_cfg={"type": "Conv3d"}, base_channels=WIDTH, zero_init_residual=False)
_I3D_PLACES = ((0, 0, 0), (0, 1, 0, 1), (0, 1, 0, 1, 0, 1), (0, 0, 0))
_TSM_PLACES = ((0, 0, 0), (1, 0, 1, 0), (1, 0, 1, 0, 1, 0), (0, 0, 0))

# Name: network, form, frames, size.
CASES = {
    "c2d": ("c2d", None, 8, 64),
    "i3d": ("i3d", None, 16, 48),
    "i3d_gaussian": ("i3d", "gaussian", 16, 48),
    "i3d_embedded_gaussian": ("i3d", "embedded_gaussian", 16, 64),
    "i3d_concatenation": ("i3d", "concatenation", 16, 48),
    "tsm_dot_product": ("tsm", "dot_product", 8, 64),
    "tsm_embedded_gaussian": ("tsm", "embedded_gaussian", 8, 48),
    "tsm_resnet101": ("tsm", None, 8, 48),
}


def depth(case):
    """Layers of the ResNet."""
    return 101 if case.endswith("101") else 50


def available():
    """Why mmaction2 cannot be run here; "" if it can."""
    try:
        _backbones()
    except Exception as error:          # of whatever it is made of
        return "mmaction2 cannot be imported: {}".format(error)
    return ""


def _backbones():
    # 1.2.0's wheel lacks a file of its localizers, which its models import.
    sys.modules.setdefault("mmaction.models.localizers",
                           types.ModuleType("localizers"))
    from mmaction.models.backbones import ResNet3d
    return ResNet3d, _thin("resnet_tsm").ResNetTSM, _thin("c2d").C2D


def _thin(name):
    """A module of its backbones with the widths of its ResNet divided."""
    import mmaction.models.backbones as backbones
    module = types.ModuleType("thin_" + name)
    folder = os.path.dirname(backbones.__file__)
    text = ""
    for part in ("resnet", name):
        with open(os.path.join(folder, part + ".py"), encoding="utf-8") as file:
            text += file.read().replace("inplanes = 64", "inplanes = 8")
    for old, new in (
            ("planes = 64 *", "planes = 8 *"),
            ("            64,\n", "            8,\n"),
            ("from .resnet import ResNet", ""),
            ("from mmaction.models.backbones.resnet import ResNet", ""),
            ("@MODELS.register_module()", "")):
        text = text.replace(old, new)
    module.__package__ = "mmaction.models.backbones"
    sys.modules[module.__name__] = module
    exec(compile(text, name, "exec"), module.__dict__)
    return module


def _network(network, form, layers=50):
    import torch
    resnet3d, tsm, c2d = _backbones()
    blocks = {}
    if form:
        blocks = dict(
            non_local=_TSM_PLACES if network == "tsm" else _I3D_PLACES,
            non_local_cfg={"sub_sample": True, "use_scale": False, "mode": form,
                           "norm_cfg": {"type": "BN3d"}})
    if network == "i3d":
        backbone = resnet3d(depth=50, pretrained=None, pretrained2d=False,
                            **_I3D, **blocks)
    elif network == "tsm":
        backbone = tsm(depth=layers, pretrained=None, pretrained2d=False,
                       **blocks)
    else:
        backbone = c2d(depth=50, pretrained=None)
    model = torch.nn.ModuleDict({
        "backbone": backbone, "cls_head": torch.nn.ModuleDict({
            "fc_cls": torch.nn.Linear(32 * WIDTH, CLASSES)})})
    return model.eval()


def weights(network, form, layers=50):
    """Its state dictionary by rule: name -> array, in its order."""
    return {name: rule.tensor(name, tuple(value.shape))
            for name, value in _network(
                network, form, layers).state_dict().items()
            if not name.endswith("num_batches_tracked")}


def logits(network, form, frames, size, layers=50):
    """[B, classes] of its own code, as its heads compute them."""
    import torch
    model = _network(network, form, layers)
    tensors = weights(network, form, layers)
    model.load_state_dict({
        name: torch.from_numpy(value)
        for name, value in tensors.items()}, strict=False)
    clips = torch.from_numpy(rule.clips(BATCH, frames, size)).float()
    x = (clips - torch.tensor(MEAN)) / torch.tensor(DEVIATION)
    with torch.no_grad():
        if network == "tsm":
            x = model["backbone"](x.flatten(0, 1).permute(0, 3, 1, 2))
            x = x.mean((2, 3))
        else:
            x = model["backbone"](x.permute(0, 4, 1, 2, 3)).mean((2, 3, 4))
        return model["cls_head"]["fc_cls"](x).reshape(
            BATCH, -1, CLASSES).mean(1).numpy()


if __name__ == "__main__":
    found = {}
    for case, (network_, form_, *sizes) in CASES.items():
        found[case] = {
            "network": network_, "form": form_, "frames": sizes[0],
            "size": sizes[1],
            "logits": np.round(logits(
                network_, form_, *sizes,
                layers=depth(case)).astype(float), 6).tolist()}
    with open(VECTORS, "w", encoding="ascii") as output:
        json.dump(found, output)
        output.write("\n")
