"""What this machine, or the container on it, really gives a process.

Linux's own files are read; where they are missing, nothing limits. All take
`root`, under which those files lie.
"""

import math
import os
import re
from typing import NamedTuple, Optional

# Control groups: version 2 has one tree, version 1 one for each resource.
_TREE = "sys/fs/cgroup"
# Processors multiply bfloat16 with one of these (/proc/cpuinfo).
_BFLOAT16 = {"avx512_bf16", "amx_bf16"}


class Memory(NamedTuple):
    """Of a device, in bytes."""

    free: int
    used: int                           # already, by this process


class _Files(NamedTuple):
    """Names of a control group's files of memory, by version."""

    limit: str
    usage: str
    cache: str                          # key of memory.stat: can be dropped


_MEMORY = {
    1: _Files("memory.limit_in_bytes", "memory.usage_in_bytes",
              "total_inactive_file"),
    2: _Files("memory.max", "memory.current", "inactive_file"),
}


def cores(root="/"):
    """Processors that this process may use: affinity and container quota.

    A quota of one and a half counts as two.
    """
    if not hasattr(os, "sched_getaffinity"):        # not Linux
        return os.cpu_count() or 1
    count = len(os.sched_getaffinity(0))
    for group in _groups(root, 2, ""):
        quota = _read(group, "cpu.max").split()
        count = min(count, _quota(*quota) if len(quota) == 2 else count)
    for group in _groups(root, 1, "cpu"):
        count = min(count, _quota(_read(group, "cpu.cfs_quota_us"),
                                  _read(group, "cpu.cfs_period_us")))
    return max(1, count)


def free_memory(root="/"):
    """Bytes that can be had without swapping; None where nothing tells.

    The smallest of what the machine has and what each control group above
    this process leaves; file caches, which can be dropped, count as free.
    """
    found = re.search(r"MemAvailable:\s+(\d+) kB",
                      _read(os.path.join(root, "proc"), "meminfo"))
    free = [int(found.group(1)) * 1024] if found else []
    for version, controller in ((2, ""), (1, "memory")):
        for group in _groups(root, version, controller):
            left = _left(group, _MEMORY[version])
            free += [] if left is None else [left]
    return max(0, min(free)) if free else None


def used_memory(root="/"):
    """Bytes that this process has in memory; None if unknown."""
    return _status(root, "VmRSS")


def peak_memory(root="/"):
    """The most bytes that this process has had in memory; None if unknown."""
    return _status(root, "VmHWM")


def multiplies_bfloat16(root="/"):
    """Whether the processor has instructions for bfloat16 (x86 alone)."""
    return bool(_BFLOAT16 & set(cpuinfo("flags", root).split()))


def is_intel(root="/"):
    """Whether the processor says that it is Intel's; False if unknown."""
    return cpuinfo("vendor_id", root) == "GenuineIntel"


def cpuinfo(key, root="/"):
    """The first value of a key in /proc/cpuinfo; "" without it."""
    found = re.search(r"^{}\s*:(.*)$".format(key), _read(
        os.path.join(root, "proc"), "cpuinfo"), re.MULTILINE)
    return found.group(1).strip() if found else ""


def _status(root, key):
    found = re.search(r"{}:\s+(\d+) kB".format(key),
                      _read(os.path.join(root, "proc/self"), "status"))
    return int(found.group(1)) * 1024 if found else None


def _quota(quota, period):
    """Processors for microseconds in a period; -1 or "max" is no limit."""
    if quota.isdigit() and period.isdigit() and int(period):
        return math.ceil(int(quota) / int(period))
    return math.inf


def _left(group, files) -> Optional[int]:
    """Bytes up to a group's limit; None without one."""
    limit, usage = _read(group, files.limit), _read(group, files.usage)
    if not (limit.isdigit() and usage.isdigit()):
        return None
    cache = re.search(r"^{} (\d+)$".format(files.cache),
                      _read(group, "memory.stat"), re.MULTILINE)
    return int(limit) - int(usage) + (int(cache.group(1)) if cache else 0)


def _groups(root, version, controller):
    """Folders of this process's control group and of those above it.

    Within a container the path of its group may be the host's, which is not
    there; the tree's top is then the container's own group.
    """
    for line in _read(os.path.join(root, "proc/self"), "cgroup").split("\n"):
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controller not in controllers.split(","):
            continue
        names = (dict.fromkeys((controllers, controller)) if version == 1
                 else ["", "unified"])
        tops = [os.path.join(root, _TREE, name) for name in names]
        for top in tops:
            parts = [part for part in path.split("/") if part]
            for count in range(len(parts) + 1):
                folder = os.path.join(top, *parts[:count])
                if os.path.isdir(folder):
                    yield folder


def _read(folder, name):
    """A file's text; "" where it cannot be read."""
    try:
        with open(os.path.join(folder, name), encoding="utf-8",
                  errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""
