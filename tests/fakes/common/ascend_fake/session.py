"""TensorFlow's sessions, as the adapter sees them.

TensorFlow itself ignores a custom optimizer that it does not know, so that a
session runs on the CPU without a word; here each session says what it is.
The methods of TensorFlow's own class are replaced, so that every alias of it,
`with`, isinstance and tensor.eval() go through them.
"""

import difflib
import os
import re

import numpy as np
import tensorflow as tf

from ascend_fake import console, environment, options
from ascend_fake.errors import refuse

tf1 = tf.compat.v1
NAME = "NpuOptimizer"
state = {"on": False, "graph_ids": 0}   # on: the adapter's library is loaded
_running = []                           # a session on the NPU is in run()
_real = {}


def install():
    """Replaces the methods of TensorFlow's sessions, once."""
    if _real:
        return
    base = tf1.Session.__mro__[1]
    for name, method in (
            ("__init__", _init), ("run", _run),
            ("make_callable", _only_run("make_callable")),
            ("partial_run_setup", _only_run("partial_run_setup"))):
        _real[name] = getattr(base, name)
        setattr(base, name, method)


class Npu:
    """What the fake remembers of a session on the NPU."""

    def __init__(self):
        self.shapes = {}
        self.compiled = set()


def _init(self, target="", graph=None, config=None):
    self._ascend_fake = self._session = None
    settings = None if config is None else _settings(config)
    if settings is None:
        return _real["__init__"](self, target, graph, config)
    if not state["on"]:
        refuse("a session with NpuOptimizer before the adapter's library is "
               "loaded by enable_v1()", "2")
    environment.check("session_device_id" in settings)
    _real["__init__"](self, target, graph, _with_threads(config))
    self._ascend_fake = Npu()


def _with_threads(config):
    """A copy: collectives that wait must not use the last thread up."""
    copy = tf1.ConfigProto()
    copy.CopyFrom(config)
    copy.use_per_session_threads = True
    copy.inter_op_parallelism_threads = max(
        16, copy.inter_op_parallelism_threads)
    return copy


def _settings(config):
    """NpuOptimizer's options, checked; None for a session on the CPU."""
    if not isinstance(config, tf1.ConfigProto):
        return None                     # TensorFlow itself refuses it
    rewrite = config.graph_options.rewrite_options
    found = [each for each in rewrite.custom_optimizers
             if each.name == NAME]
    for each in rewrite.custom_optimizers:
        _check_name(each.name)
    if len(found) > 1:
        refuse("NpuOptimizer twice in one config", "1.3")
    if not found:
        return None
    _check_rewriter(rewrite)
    settings = options.read(found[0].parameter_map)
    options.check(settings)
    return settings


def _check_name(name):
    plain = re.sub("[^a-z]", "", name.lower())
    near = difflib.SequenceMatcher(None, plain, NAME.lower()).ratio()
    if name != NAME and (near > 0.8 or "npu" in plain):
        refuse("a custom optimizer is named {!r}; without the exact name "
               "{} the graph runs on the CPU".format(name, NAME), "1.3")


def _check_rewriter(rewrite):
    names = tf1.ConfigProto().graph_options.rewrite_options
    if rewrite.remapping != names.OFF:
        refuse("rewrite_options.remapping must be OFF", "1.3")
    if rewrite.memory_optimization == names.MANUAL:
        refuse("memory_optimization is MANUAL: RewriterConfig.OFF is 2, and 2 "
               "means MANUAL here; NO_MEM_OPT is 1", "1.3")
    if rewrite.memory_optimization not in (
            names.DEFAULT_MEM_OPT, names.NO_MEM_OPT):
        refuse("memory_optimization is neither the default nor NO_MEM_OPT",
               "1.3")
    if rewrite.disable_model_pruning or rewrite.disable_meta_optimizer:
        refuse("model pruning and the meta optimizer stay on", "1.3")
    for field, value in rewrite.ListFields():
        if (field.enum_type is not None and value == names.OFF
                and field.enum_type.name == "Toggle"
                and field.name != "remapping"):
            refuse("rewrite_options.{} must stay on".format(field.name),
                   "1.3")


def _run(self, fetches, feed_dict=None, options=None, run_metadata=None):
    npu = self._ascend_fake
    names = sorted({_name(each) for each in _flat(fetches)})
    if npu is None:
        return _real["run"](self, fetches, feed_dict, options, run_metadata)
    _check_run(self, npu, names, feed_dict or {})
    _running.append(npu)
    try:
        return _real["run"](self, fetches, feed_dict, options, run_metadata)
    finally:
        _running.remove(npu)


def need_npu(name):
    """For kernels that only the NPU has."""
    if not _running:
        refuse("{} has no kernel for the CPU: run it in a session with "
               "NpuOptimizer".format(name), "1.3, 1.5")


def _flat(fetches):
    if hasattr(fetches, "_asdict"):
        fetches = fetches._asdict()
    if isinstance(fetches, dict):
        fetches = list(fetches.values())
    if isinstance(fetches, (list, tuple)):
        return [item for each in fetches for item in _flat(each)]
    return [] if fetches is None else [fetches]


def _name(element):
    """Of a tensor, operation, variable or string; the same for each run."""
    if isinstance(element, str):
        return element
    return getattr(element, "name", None) or str(element)


def _check_run(session, npu, names, feeds):
    """A graph for the NPU is compiled for its fetches, feeds and shapes."""
    shapes = {_name(key): list(np.shape(value))
              for key, value in feeds.items()}
    key = (tuple(names), tuple(sorted(shapes)))
    before = npu.shapes.setdefault(key, shapes)
    if before != shapes:
        refuse("recompilation: {} was fed as {}, now as {}".format(
            names, before, shapes), "1.6 item 8")
    if key in npu.compiled or not _trains(session.graph):
        return
    npu.compiled.add(key)
    if os.environ.get("ASCEND_FAKE_SILENT_CPU") != "1":
        state["graph_ids"] += 1
        console.compiled(state["graph_ids"])


def _trains(graph):
    with graph.as_default():
        return bool(tf1.trainable_variables())


def _only_run(name):
    """Another way to run, which an NPU session refuses."""
    def method(self, *arguments, **keywords):
        if self._ascend_fake is not None:
            refuse("the fake knows Session.run only", "1.6")
        return _real[name](self, *arguments, **keywords)
    return method
