"""npu_bridge's modules and names, for npu_bridge and npu_device.compat.v1."""

import os
import sys
import types

import tensorflow as tf

from ascend_fake import hccl_ops, loss_scale, optimizers, session
from ascend_fake.environment import rank_id, rank_size
from ascend_fake.errors import UnknownNameError, record, refuse

tf1 = tf.compat.v1
RewriterConfig = type(tf1.ConfigProto().graph_options.rewrite_options)
LOSS_SCALE = ("NPULossScaleOptimizer", "FixedLossScaleManager",
              "ExponentialUpdateLossScaleManager")
# There, but not in the fake: a call raises.
PRESENT = {
    "estimator.npu.npu_config": (
        "NPURunConfig", "ProfilingConfig", "DumpConfig",
        "DynamicInputConfig"),
    "estimator.npu.npu_estimator": ("NPUEstimator", "NPUEstimatorSpec"),
    "estimator.npu.npu_optimizer": (
        "NPUOptimizer", "KerasDistributeOptimizer",
        "npu_distributed_optimizer_wrapper", "npu_allreduce"),
    "estimator.npu.npu_hook": (
        "NPUCheckpointSaverHook", "NPUOutputTensorHook",
        "NPUBroadcastGlobalVariablesHook"),
    "estimator.npu.util": ("set_iteration_per_loop", "IterationPerLoop"),
    "estimator.npu.npu_rnn": (), "estimator.npu.npu_strategy": (),
    "estimator.npu.keras_to_npu": (),
    "estimator.npu.npu_scope": (
        "without_npu_compile_scope", "keep_dtype_scope",
        "npu_variable_scope", "npu_stage_scope"),
    "estimator.npu_unary_ops": ("gelu",),
    "estimator.npu_ops": ("dropout", "NPUInit", "NPUShutdown"),
    "hccl.hccl_ops": (
        "allgather", "reduce", "reduce_scatter", "send", "receive"),
}
HCCL_API = (
    "create_group", "destroy_group", "get_local_rank_size",
    "get_local_rank_id", "get_world_rank_from_group_rank",
    "get_group_rank_from_world_rank", "set_split_strategy_by_idx",
    "set_split_strategy_by_size")
SIBLINGS = (
    "npu_session_config_init", "npu_run_config_init", "npu_hooks_append",
    "set_keras_session_npu_config", "init_resource", "shutdown_resource",
    "close_session", "get_npu_rank_id", "get_npu_local_rank_id",
    "get_npu_rank_size")


class Module(types.ModuleType):
    """A module whose unknown names raise AscendFakeError."""

    def __getattr__(self, name):
        raise UnknownNameError("{} has no {!r} [ascend.md 1.1]".format(
            self.__name__, name))


class Refused:
    """A name that exists and that the fake does not act out."""

    def __init__(self, name):
        self.__name__ = name

    def __call__(self, *arguments, **keywords):
        refuse("{} is not in the fake".format(self.__name__), "1.1, 1.5")


def module(name, contents):
    made = sys.modules.setdefault(name, Module(name))
    made.__dict__.update(contents)
    parent, _, last = name.rpartition(".")
    if parent in sys.modules:
        sys.modules[parent].__dict__[last] = made
    return made


def refused(names):
    return {name: Refused(name) for name in names}


def npu_config_proto(config_proto=None):
    """The later form; it adds no NpuOptimizer."""
    if config_proto is None:
        config_proto = tf1.ConfigProto()
    if not isinstance(config_proto, tf1.ConfigProto):
        refuse("npu_config_proto replaces {!r} silently".format(
            config_proto), "1.2")
    config_proto.allow_soft_placement = True
    config_proto.log_device_placement = False
    options = config_proto.graph_options
    options.optimizer_options.global_jit_level = (
        tf1.OptimizerOptions.OFF)
    options.rewrite_options.remapping = RewriterConfig.OFF
    return config_proto


def initialize_system(name=None):
    return _system(session.INITIALIZE, name or "NPUInit")


def shutdown_system(name=None):
    return _system(session.SHUTDOWN, name or "NPUShutdown")


def _system(collection, name):
    if tf.executing_eagerly():
        refuse("{} refuses eager mode".format(name), "1.5")
    operation = tf.no_op(name=name)
    tf1.add_to_collection(collection, operation.name)
    return operation


def _when_up(function):
    def call(group=hccl_ops.WORLD):
        if not session.state["hccl"]:
            refuse("run npu_ops.initialize_system() in a session with "
                   "NpuOptimizer first", "1.5")
        if group != hccl_ops.WORLD:
            refuse("no group {!r} was created".format(group), "1.5")
        return function()
    return call


def _get_rank_id():
    return rank_id() if "RANK_TABLE_FILE" in os.environ else 0


def install_hccl():
    """The package `hccl`: hccl.manage.api."""
    api = dict(refused(HCCL_API), get_rank_size=_when_up(rank_size),
               get_rank_id=_when_up(_get_rank_id))
    module("hccl.manage", {"__path__": []})
    return module("hccl.manage.api", api).__dict__


def install(root, with_loss_scale):
    """npu_bridge's modules below the package `root`."""
    session.install()
    import hccl  # npu_init needs it, 1.1

    api = vars(hccl.manage.api)
    for name in ("estimator", "estimator.npu", "hccl"):
        module("{}.{}".format(root, name), {"__path__": []})
    made = {}
    for name, names in PRESENT.items():
        made[name] = module("{}.{}".format(root, name), refused(names))
    working = {
        "estimator.npu_ops": (initialize_system, shutdown_system),
        "hccl.hccl_ops": (hccl_ops.allreduce, hccl_ops.broadcast),
        "estimator.npu.npu_optimizer": (optimizers.NPUDistributedOptimizer,)}
    if with_loss_scale:
        manager = "estimator.npu.npu_loss_scale_manager"
        optimizer = "estimator.npu.npu_loss_scale_optimizer"
        for name in (manager, optimizer):
            made[name] = module("{}.{}".format(root, name), {})
        working[optimizer] = (optimizers.NPULossScaleOptimizer,)
        working[manager] = (loss_scale.FixedLossScaleManager,
                            loss_scale.ExponentialUpdateLossScaleManager)
    for name, functions in working.items():
        made[name].__dict__.update(
            (each.__name__, each) for each in functions)
    _npu_init(root, made, api)
    record("imported", root=root)


def _npu_init(root, made, api):
    """What `from npu_bridge.npu_init import *` gives."""
    names = dict(refused(SIBLINGS), npu_config_proto=npu_config_proto)
    for name in HCCL_API + ("get_rank_size", "get_rank_id"):
        names[name] = api[name]
    for name, each in made.items():
        last = name.rpartition(".")[2]
        if last in ("npu_ops", "hccl_ops", "util", "npu_rnn", "npu_scope",
                    "keras_to_npu", "npu_strategy", "npu_unary_ops"):
            names[last] = each
        else:
            names.update((key, value) for key, value in vars(each).items()
                         if not key.startswith("_"))
    proto = Module("rewriter_config_pb2")
    proto.RewriterConfig = RewriterConfig
    names.update(RewriterConfig=RewriterConfig, rewriter_config_pb2=proto,
                 __all__=sorted(names) + [
                     "RewriterConfig", "rewriter_config_pb2"])
    module(root + ".npu_init", names)
