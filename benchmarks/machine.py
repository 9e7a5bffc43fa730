"""Where a benchmark runs: processor, memory, versions, commit."""

import os
import platform
import subprocess
import sys

from nonlocal_tf.command import installed
from nonlocal_tf.platforms.machine import cores, cpuinfo

# What decides on float32's and bfloat16's speed.
_FLAGS = ("avx2", "fma", "avx512f", "avx512_bf16", "avx512_fp16", "amx_tile",
          "amx_bf16", "amx_fp16")
_PACKAGES = {
    "tensorflow": ("tensorflow", "tensorflow-cpu"), "numpy": ("numpy",),
    "torch": ("torch",), "onnxruntime": ("onnxruntime",),
    "tf2onnx": ("tf2onnx",)}


def facts():
    """The machine, for a file of results."""
    flags = cpuinfo("flags").split()
    return {
        "cpu": cpuinfo("model name") or platform.processor(),
        "cores": cores(),
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf(
            "SC_PAGE_SIZE"),
        "cpu_flags": [flag for flag in _FLAGS if flag in flags],
        "system": "{} {}".format(platform.system(), platform.machine())}


def versions():
    """Package -> version; None where it is not installed."""
    found = {"python": platform.python_version()}
    for package, names in _PACKAGES.items():
        found[package] = getattr(
            sys.modules.get(package), "__version__", None) or next(
                filter(None, map(installed, names)), None)
    return found


def commit(folder):
    """Of a git repository, with "+" where files differ; None: not known."""
    try:
        head, changes = [subprocess.check_output(
            ["git", "-C", folder] + words, stderr=subprocess.DEVNULL,
            universal_newlines=True) for words in (
                ["rev-parse", "HEAD"],
                ["status", "--porcelain", "--untracked-files=no"])]
    except (OSError, subprocess.CalledProcessError):
        return None
    return head.strip() + ("+" if changes.strip() else "")
