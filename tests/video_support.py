"""Networks of clips with other systems' weights, for several tests."""

import functools
import json
import os

import numpy as np
import peer_mmaction2
import pytest
import rule
import tensorflow as tf
from support import ROOT, graph_session, random_values, set_values

from nonlocal_tf import convert
from nonlocal_tf.networks.video import VideoResNet
from nonlocal_tf.protocols import trunk
from nonlocal_tf.weights import (
    checkpoints,
    mapping,
    names,
    recognise,
    writers,
)

FOLDER = os.path.join(ROOT, "..", "shared", "data", "video", "vectors")
# Name: protocol, network, frames, interval, more of `VideoResNet`.
VECTORS = {
    "c2_i3d_nl_8": ("video-nonlocal-net", "i3d", 8, 8, {}),
    "c2_i3d_nl_8_dot": ("video-nonlocal-net", "i3d", 8, 8, {
        "instantiation": "dot_product"}),
    "c2_i3d_nl_8_test": ("video-nonlocal-net", "i3d", 8, 8, {}),
    "c2_i3d_nl_8_train": ("video-nonlocal-net", "i3d", 8, 8, {}),
    "c2_i3d_nl_32_affine": ("video-nonlocal-net", "i3d", 32, 4, {
        "frozen_norm": True}),
    "mma_c2d": ("mmaction2-1.x", "c2d", 8, 8, {
        "image_size": 64, "placement": {}}),
    "mma_i3d_nl_emb": ("mmaction2-1.x", "i3d", 32, 2, {"image_size": 64}),
    "mma_tsm_nl_dot": ("mmaction2-1.x", "tsm", 8, 0, {
        "image_size": 64, "instantiation": "dot_product"}),
    "paddle_c2d_nl_valid": ("paddle", "c2d", 8, 8, {}),
    "mindspore_nonlocal3d": ("mindspore", "i3d", 32, 6, {
        "image_size": 64, "instantiation": "dot_product"}),
}


def vector(name):
    """The arrays of a vector and its settings; skips where it is not there."""
    path = os.path.join(FOLDER, name + ".npz")
    if not os.path.exists(path):
        pytest.skip("no test vectors in " + FOLDER)
    with np.load(path) as file:
        arrays = {key: file[key] for key in file.files}
    return arrays, json.loads(str(arrays.pop("meta")))


def parameters(arrays):
    return {name[6:]: value for name, value in arrays.items()
            if name.startswith("param/")}


def thin(protocol, network, frames, interval, more):
    return VideoResNet(protocol, network, classes=20, frames=frames,
                       interval=interval, base_width=8, **more)


def by_name(network):
    prefix = network.name_scope.name
    return {each.op.name[len(prefix):]: each for each in network.variables}


def load(session, network, tensors):
    """Gives a network the tensors of another system; returns what they are."""
    found = recognise.recognise("tensors", tensors)
    variables = by_name(network)
    mapped = mapping.map_in("tensors", found, tensors, {
        name: each.shape.as_list() for name, each in variables.items()})
    assert not mapped.unused
    set_values(session, {variables[name]: value
                         for name, value in mapped.values.items()})
    return found


@functools.lru_cache(maxsize=None)
def answer(name, with_layers):
    """Logits, probabilities and named layers of a vector, and the vector."""
    arrays, meta = vector(name)
    layers = [] if with_layers else None
    with graph_session() as session:
        network = thin(*VECTORS[name])
        logits = network(tf.constant(arrays["clip"]), is_training=False,
                         layers=layers)
        load(session, network, parameters(arrays))
        fetched = session.run([logits, tf.nn.softmax(logits), dict(
            layers or ())])
    return fetched, arrays, meta


def thin_file(path, case=peer_mmaction2.CASES["tsm_embedded_gaussian"],
              places=None):
    """A .pth of mmaction2 with weights by rule; returns its tensors."""
    network, form, frames, size = case
    config = convert.settings(
        recognised(network, form, places), convert.parse(
            ["x", "--train_url", "x", "--image_size", str(size), "--frames",
             str(frames)] + (["--instantiation", form] if form else [])))
    traits = names.Traits(config.placement(), shift=network == "tsm")
    tensors = {
        name: rule.tensor(name, value.shape) if value.dtype != np.int64
        else value for name, value in mapping.map_out(
            "mmaction2", network, traits, {
                name: np.zeros(shape, np.float32) for name, shape in
                checkpoints.shapes(config).items()}).items()}
    writers.write_torch(str(path), tensors)
    return tensors


def recognised(network, form, places):
    if places is None:
        places = trunk("mmaction2-1.x", network).five if form else {}
    return recognise.Found(
        "mmaction2", network, 50, 8, 20, 0.5, form, False, "batch", True,
        names.Traits(places, shift=network == "tsm"))


def mild_values(network, seed):
    """Random ones under which sixteen sums do not grow without bound."""
    values = random_values(network.variables, seed)
    for variable in values:
        if variable.op.name.endswith(("norm3/gamma", "norm/gamma")):
            values[variable] *= 0.3
    return values
