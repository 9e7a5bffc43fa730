"""npu_bridge.hccl.hccl_ops: the signatures of ascend.md 1.5."""

import os

import tensorflow as tf

from ascend_fake import environment, session, wire
from ascend_fake.errors import refuse

tf1 = tf.compat.v1
WORLD = "hccl_world_group"
DTYPES = (tf.float32, tf.float16, tf.int32, tf.int8)


def allreduce(tensor, reduction, fusion=1, fusion_id=-1, group=WORLD):
    if reduction != "sum":              # max, min and prod: nobody's here
        refuse("allreduce has no reduction {!r}".format(reduction), "1.5")
    if isinstance(tensor, (list, tuple)):
        refuse("allreduce takes one tensor, broadcast a list", "1.5")
    _check("allreduce", fusion, fusion_id, group)
    return collective("HcomAllReduce", reduction, [tensor], DTYPES)[0]


def broadcast(tensor, root_rank, fusion=2, fusion_id=0, group=WORLD):
    """Gives a list; variables change only where it is assigned to them."""
    if not isinstance(tensor, (list, tuple)) or not tensor:
        refuse("broadcast takes a list of tensors", "1.5")
    if isinstance(root_rank, bool) or not isinstance(root_rank, int) or (
            not 0 <= root_rank < environment.rank_size()):
        refuse("root_rank {!r} is no rank".format(root_rank), "1.5")
    _check("broadcast", fusion, fusion_id, group)
    return collective(
        "HcomBroadcast", root_rank, list(tensor), DTYPES + (tf.int64,))


def _check(name, fusion, fusion_id, group):
    if group != WORLD:
        refuse("{}: no group {!r} was created".format(name, group), "1.5")
    for value in (fusion, fusion_id):
        if isinstance(value, bool) or not isinstance(value, int):
            refuse("{}: fusion {!r} is no integer".format(name, value),
                   "1.5")


def collective(name, job, tensors, dtypes):
    """One blocking operation for all tensors: they arrive together."""
    if "RANK_TABLE_FILE" not in os.environ:
        refuse("{}: HCCL is on only where RANK_TABLE_FILE is set".format(
            name), "3")
    if tf.executing_eagerly():
        refuse("{} in eager mode".format(name), "1.5")
    tensors = [tf.convert_to_tensor(tensor) for tensor in tensors]
    for tensor in tensors:
        if tensor.dtype not in dtypes:
            refuse("{}: {} is {}, not {}".format(
                name, tensor.name, tensor.dtype.name,
                [dtype.name for dtype in dtypes]), "1.5")
    with tf1.name_scope(name) as scope:
        def exchange(*arrays):
            session.need_npu(scope)
            return wire.exchange(scope, job, arrays)

        results = tf1.py_func(
            exchange, tensors, [tensor.dtype for tensor in tensors],
            name="exchange")
    for tensor, result in zip(tensors, results):
        result.set_shape(tensor.shape)
    return results
