"""The kernels of one step, from TensorFlow's own trace of it."""

import collections
import re
from typing import NamedTuple

_LABEL = re.compile(r"^.* = (\w+)\(")


class Kernel(NamedTuple):
    """One run of one operation."""

    operation: str                      # its type, such as Conv2D
    began: float                        # seconds, of some clock
    ended: float


def kernels(metadata):
    """The `Kernel`s of a RunMetadata of trace level FULL."""
    found = []
    for device in metadata.step_stats.dev_stats:
        if "/device:" not in device.device:     # TensorFlow 1.15's /host:CPU
            continue                            # has the same once more
        for node in device.node_stats:
            label = _LABEL.match(node.timeline_label)
            start = node.all_start_nanos
            found.append(Kernel(
                label.group(1) if label else node.node_name.split(":")[-1],
                1e-9 * (start + node.op_start_rel_nanos),
                1e-9 * (start + node.op_end_rel_nanos)))
    return found


def busy_seconds(found):
    """The time in which at least one kernel ran."""
    busy, until = 0.0, float("-inf")
    for kernel in sorted(found, key=lambda each: each.began):
        busy += max(0.0, kernel.ended - max(until, kernel.began))
        until = max(until, kernel.ended)
    return busy


def by_operation(found):
    """(operation, seconds, count), the most seconds first.

    Kernels run beside each other, so the sum may exceed the step's time.
    """
    seconds, counts = collections.Counter(), collections.Counter()
    for kernel in found:
        seconds[kernel.operation] += kernel.ended - kernel.began
        counts[kernel.operation] += 1
    return [(name, spent, counts[name])
            for name, spent in seconds.most_common()]
