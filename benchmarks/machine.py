"""Where a benchmark runs: processor, memory, versions, commit."""

import platform
import re
import subprocess
import sys

from nonlocal_tf.platforms.machine import cores

# What decides on float32's and bfloat16's speed.
_FLAGS = ("avx2", "fma", "avx512f", "avx512_bf16", "avx512_fp16", "amx_tile",
          "amx_bf16", "amx_fp16")
_PACKAGES = {
    "tensorflow": ("tensorflow", "tensorflow-cpu"), "numpy": ("numpy",),
    "torch": ("torch",), "onnxruntime": ("onnxruntime",),
    "tf2onnx": ("tf2onnx",)}


def facts():
    """The machine, for a file of results."""
    cpu = _text("/proc/cpuinfo")
    model = re.search(r"^model name\s*:\s*(.*)$", cpu, re.MULTILINE)
    flags = re.search(r"^flags\s*:\s*(.*)$", cpu, re.MULTILINE)
    flags = flags.group(1).split() if flags else []
    memory = re.search(r"MemTotal:\s*(\d+) kB", _text("/proc/meminfo"))
    return {
        "cpu": model.group(1) if model else platform.processor(),
        "cores": cores(),
        "memory_bytes": 1024 * int(memory.group(1)) if memory else None,
        "cpu_flags": [flag for flag in _FLAGS if flag in flags],
        "system": "{} {}".format(platform.system(), platform.machine())}


def versions():
    """Package -> version; None where it is not installed."""
    found = {"python": platform.python_version()}
    for package, names in _PACKAGES.items():
        found[package] = getattr(
            sys.modules.get(package), "__version__", None) or next(
                filter(None, map(_installed, names)), None)
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


def _installed(name):
    """The version of an installed distribution, without an import."""
    try:
        from importlib import metadata
    except ImportError:                         # Python 3.7
        import pkg_resources
        try:
            return pkg_resources.get_distribution(name).version
        except pkg_resources.DistributionNotFound:
            return None
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _text(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
