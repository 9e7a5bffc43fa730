"""npu_device: what of TensorFlow 2's eager adapter can be misused."""

import os

from ascend_fake import environment, session
from ascend_fake.errors import record, refuse
from ascend_fake.options import PRECISION_MODES

state = {"open": None, "v1": False}
ANY, FLAGS = None, (True, False)
DUMP = {
    "enable_dump": FLAGS, "dump_path": ANY, "dump_step": ANY,
    "dump_mode": ("input", "output", "all"), "enable_dump_debug": FLAGS,
    "dump_debug_mode": ("aicore_overflow", "atomic_overflow", "all")}
PROFILING = {"enable_profiling": FLAGS, "profiling_options": ANY}
OPTIONS = {
    "precision_mode": PRECISION_MODES, "graph_run_mode": (0, 1),
    "graph_memory_max_size": ANY, "variable_memory_max_size": ANY,
    "op_compiler_cache_mode": ("enable", "disable", "force"),
    "hcom_parallel": FLAGS, "modify_mixlist": ANY,
    "fusion_switch_file": ANY, "customize_dtypes": ANY,
    "op_precision_mode": ANY, "enable_small_channel": (0, 1),
    "deterministic": (0, 1), "jit_compile": FLAGS}


class Options:
    """Unknown names and values that are not listed: ValueError."""

    def __init__(self, legal, **groups):
        self.__dict__.update(groups)
        self.__dict__["_legal"] = legal

    def __setattr__(self, name, value):
        if state["open"] is not None:
            refuse("options are read by open(): set {} before".format(name),
                   "2")
        if name not in self._legal:
            raise ValueError("{!r} is no option [ascend.md 2]".format(name))
        legal = self._legal[name]
        if legal is not ANY and value not in legal:
            raise ValueError("{} = {!r}: not one of {} [ascend.md 2]".format(
                name, value, legal))
        self.__dict__[name] = value

    def __getattr__(self, name):
        if name in self.__dict__.get("_legal", ()):
            return None
        raise ValueError("{!r} is no option [ascend.md 2]".format(name))


_OPTIONS = Options(
    OPTIONS, dump_config=Options(DUMP), profiling_config=Options(PROFILING),
    aoe_config=Options({}), memory_config=Options({}),
    experimental=Options({}))
_OPTIONS.__dict__.update(op_compiler_cache_mode="disable",
                         hcom_parallel=True)


def global_options():
    return _OPTIONS


class Device:
    """The handle that open() gives."""

    def __init__(self, device_id):
        self.device_id = device_id
        self.workers_num = environment.rank_size()
        self.worker_id = int(os.environ.get("RANK_ID", "0"))

    def as_default(self):
        record("as_default")
        return self

    def name(self):
        return "/job:localhost/replica:0/task:0/device:NPU:{}".format(
            self.device_id)

    def scope(self):
        refuse("scope() is not in the fake", "2")

    def is_cluster_worker(self):
        return self.workers_num > 1


def open_device(device_id=None):
    if state["v1"]:
        refuse("open() after enable_v1()", "2")
    if device_id is None:
        device_id = int(os.environ.get("ASCEND_DEVICE_ID") or 0)
    if state["open"] is not None:
        if state["open"].device_id != device_id:
            raise RuntimeError("one device per process: {} is open".format(
                state["open"].device_id))
        return state["open"]
    if environment.rank_size() > 1:
        for name in ("RANK_TABLE_FILE", "RANK_ID"):
            if name not in os.environ:
                raise RuntimeError("RANK_SIZE > 1 needs {}".format(name))
    state["open"] = Device(device_id)
    record("device_open", device_id=device_id)
    return state["open"]


def enable_v1():
    """Graph mode, and NpuOptimizer's library."""
    if state["open"] is not None:
        refuse("enable_v1() after open()", "2")
    session.tf1.disable_v2_behavior()
    state["v1"] = session.state["on"] = True
    record("enable_v1")


def need_v1():
    if not state["v1"]:
        refuse("call npu_device.compat.enable_v1() before "
               "npu_device.compat.v1 is imported", "2")
