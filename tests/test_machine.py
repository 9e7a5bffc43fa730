"""Cores and memory, from files as Linux and containers have them."""

import os
import subprocess
import sys

import pytest
from support import ROOT

from nonlocal_tf.platforms import machine

GIB = 2 ** 30
MEMINFO = "MemTotal: 25165824 kB\nMemAvailable:   20971520 kB\n"  # 20 GiB


def tree(root, files):
    """Writes files, named below `root`; returns it as a string."""
    files = dict({"proc/meminfo": MEMINFO}, **files)
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return str(root)


def version_2(path, **files):
    """Files of a group of control groups version 2."""
    found = {"proc/self/cgroup": "0::{}\n".format(path)}
    for name, text in files.items():
        folder, _, name = name.rpartition("__")
        found[os.path.join("sys/fs/cgroup", folder.replace("_", "/"),
                           name.replace("_", ".", 1))] = text
    return found


@pytest.fixture
def eight_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)))


def test_without_containers_all_that_the_machine_has_counts(
        tmp_path, eight_cores):
    assert machine.cores(tree(tmp_path, {})) == 8
    assert machine.free_memory(tree(tmp_path, {})) == 20 * GIB


@pytest.mark.parametrize("quota, expected", [
    ("max 100000", 8), ("150000 100000", 2), ("50000 100000", 1),
    ("1600000 100000", 8), ("", 8)])
def test_a_quota_of_version_2_counts(tmp_path, eight_cores, quota, expected):
    root = tree(tmp_path, version_2("/", cpu_max=quota))
    assert machine.cores(root) == expected


def test_a_quota_of_a_group_above_counts(tmp_path, eight_cores):
    root = tree(tmp_path, version_2(
        "/pod/box", pod__cpu_max="300000 100000",
        pod_box__cpu_max="max 100000"))
    assert machine.cores(root) == 3


@pytest.mark.parametrize("quota, expected", [("-1", 8), ("400000", 4)])
def test_a_quota_of_version_1_counts(tmp_path, eight_cores, quota, expected):
    group = "sys/fs/cgroup/cpu,cpuacct/docker/1a2b/"
    root = tree(tmp_path, {
        "proc/self/cgroup": "5:cpu,cpuacct:/docker/1a2b\n0::/docker/1a2b\n",
        group + "cpu.cfs_quota_us": quota,
        group + "cpu.cfs_period_us": "100000\n"})
    assert machine.cores(root) == expected


def test_a_container_that_does_not_see_its_path_has_the_top(
        tmp_path, eight_cores):
    root = tree(tmp_path, {
        "proc/self/cgroup": "5:cpu,cpuacct:/docker/1a2b\n",
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "200000",
        "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"})
    assert machine.cores(root) == 2


def test_a_limit_less_what_is_used_but_could_be_dropped(tmp_path):
    root = tree(tmp_path, version_2(
        "/", memory_max=str(8 * GIB), memory_current=str(5 * GIB),
        memory_stat="anon 1\ninactive_file {}\n".format(2 * GIB)))
    assert machine.free_memory(root) == 5 * GIB


def test_a_limit_of_version_1(tmp_path):
    group = "sys/fs/cgroup/memory/docker/1a2b/memory."
    root = tree(tmp_path, {
        "proc/self/cgroup": "9:memory:/docker/1a2b\n",
        group + "limit_in_bytes": str(4 * GIB),
        group + "usage_in_bytes": str(GIB),
        group + "stat": "inactive_file 7\ntotal_inactive_file 1024\n"})
    assert machine.free_memory(root) == 3 * GIB + 1024


@pytest.mark.parametrize("limit", ["max", str(2 ** 63 - 4096)])
def test_no_limit_leaves_the_machines_memory(tmp_path, limit):
    root = tree(tmp_path, version_2(
        "/", memory_max=limit, memory_current="1"))
    assert machine.free_memory(root) == 20 * GIB


def test_nothing_to_read_is_unknown_and_no_error(tmp_path):
    assert machine.free_memory(str(tmp_path)) is None
    assert machine.peak_memory(str(tmp_path)) is None
    assert not machine.multiplies_bfloat16(str(tmp_path))
    assert not machine.is_intel(str(tmp_path))
    assert machine.cores(str(tmp_path)) == len(os.sched_getaffinity(0))


@pytest.mark.parametrize("vendor, flag, is_intel, has_bfloat16", [
    ("GenuineIntel", "amx_bf16", True, True),
    ("AuthenticAMD", "avx512_bf16", False, True),
    ("HygonGenuine", "avx512_vnni", False, False)])
def test_the_processor_is_read(
        tmp_path, vendor, flag, is_intel, has_bfloat16):
    root = tree(tmp_path, {"proc/cpuinfo": (
        "processor\t: 0\nvendor_id\t: {}\nflags\t\t: fpu avx2 {}\n".format(
            vendor, flag))})
    assert machine.is_intel(root) == is_intel
    assert machine.multiplies_bfloat16(root) == has_bfloat16


def test_the_peak_is_what_was_taken_at_most():
    code = ("from nonlocal_tf.platforms.machine import *\n"
            "before = peak_memory(); x = b'x' * 2 ** 27; del x\n"
            "print(peak_memory() - before, used_memory() < peak_memory())")
    grown, is_less = subprocess.check_output(
        [sys.executable, "-c", code], cwd=ROOT, universal_newlines=True
    ).split()
    assert 2 ** 27 <= int(grown) + 2 ** 22 and is_less == "True"


def test_a_system_without_affinities_has_all_its_cores(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity")
    assert machine.cores() == os.cpu_count()
