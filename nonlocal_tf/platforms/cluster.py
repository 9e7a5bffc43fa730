"""Which processes work together on GPUs: TF_CONFIG, or ModelArts' hosts.

Needs no TensorFlow: the process that starts the others uses it too.
"""

import contextlib
import glob
import json
import os
import re
import socket
from typing import NamedTuple

from nonlocal_tf.errors import UserError

PORT = 2222                     # on ModelArts' hosts: of TensorFlow's examples
_JOBS = ("chief", "worker")     # in the order of their ranks


class Cluster(NamedTuple):
    """The place of this process; a process alone has no address.

    addresses: "host:port" of each rank. rank: 0 is the one that writes.
    """

    addresses: tuple = ()
    rank: int = 0

    @property
    def size(self):
        """Number of processes."""
        return len(self.addresses) or 1

    def environment(self):
        """What tells a process of this place: TF_CONFIG."""
        return {"TF_CONFIG": json.dumps({
            "cluster": {"worker": list(self.addresses)},
            "task": {"type": "worker", "index": self.rank}})}


class _Alone:
    """A process without others, in place of `peers.Peers`."""

    rank, size = 0, 1

    def gather(self, text):
        """The texts of all processes, by rank."""
        return [text]

    def check(self):
        """No other can be gone."""

    stop = check


ALONE = _Alone()


def settle(environ):
    """The `Cluster` that the environment gives, TF_CONFIG before VC_*.

    Args:
      environ: as os.environ.
    Raises:
      UserError: it cannot work.
    """
    text = environ.get("TF_CONFIG", "").strip()
    if text:
        return _of_tf_config(text)
    for name in ("VC_WORKER_NUM", "DLS_TASK_NUMBER"):
        number = environ.get(name, "").strip()
        if number not in ("", "0", "1"):
            return _of_modelarts(environ, name, number)
    return Cluster()


def several(found, count):
    """The clusters of `count` processes here, in place of a process.

    Each address of `found` becomes as many, with consecutive ports; a process
    alone gets free ports of this machine.
    """
    if not found.addresses:
        addresses = tuple("127.0.0.1:{}".format(port)
                          for port in _free_ports(count))
    else:
        addresses = tuple(
            "{}:{}".format(host, int(port) + index)
            for host, _, port in (each.rpartition(":")
                                  for each in found.addresses)
            for index in range(count))
        _check_addresses(addresses)
    return [Cluster(addresses, found.rank * count + index)
            for index in range(count)]


def gpus(environ, root="/"):
    """The GPUs that this process may use, by their names for CUDA."""
    chosen = environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        names = [name.strip() for name in chosen.split(",")]
        # CUDA takes those before the first that is none.
        wrong = [place for place, name in enumerate(names)
                 if name in ("", "-1")]
        return names[:min(wrong)] if wrong else names
    return list(map(str, range(len(glob.glob(
        os.path.join(root, "dev/nvidia[0-9]*"))))))


def _of_tf_config(text):
    def wrong(what):
        return UserError(
            'TF_CONFIG must be as {{"cluster": {{"worker": ["host:port", ...]'
            '}}, "task": {{"type": "worker", "index": 0}}}}; {}. Mend it, or '
            'unset it to train in one process.'.format(what))

    try:
        found = dict(json.loads(text))
        jobs = {name: list(value) for name, value in dict(
            found.get("cluster") or {}).items()}
        task = dict(found.get("task") or {})
    except (ValueError, TypeError) as error:
        raise wrong("it is not ({})".format(error))
    if not jobs:
        return Cluster()
    others = sorted(set(jobs).difference(_JOBS))
    if others:
        raise wrong("its cluster has {}, and all processes here are workers "
                    "(or chief)".format(" and ".join(others)))
    addresses = [each for job in _JOBS for each in jobs.get(job, [])]
    _check_addresses(addresses)
    kind, index = task.get("type", "none"), task.get("index")
    own = len(jobs.get(kind, [])) if isinstance(kind, str) else 0
    if type(index) is not int or not 0 <= index < own:
        raise wrong("its task is {} {!r}, and its cluster has {}".format(
            kind, index, " and ".join("{} {}".format(
                len(jobs[job]), job) for job in _JOBS if job in jobs)))
    return Cluster(tuple(addresses), index + (
        len(jobs.get("chief", [])) if kind == "worker" else 0))


def _check_addresses(addresses):
    for each in addresses:
        found = re.match(r"^(\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):([0-9]{1,5})$",
                         str(each))
        if not found or not 0 < int(found.group(2)) < 65536:
            raise UserError(
                "An address of a process must be host:port, of a port from 1 "
                "to 65535; got {!r}. Mend TF_CONFIG.".format(each))
        if addresses.count(each) > 1:
            raise UserError(
                "Each process needs an address of its own; {} is there twice. "
                "Mend TF_CONFIG.".format(each))


def _of_modelarts(environ, name, number):
    """By VC_WORKER_HOSTS, a list with commas, and VC_TASK_INDEX.

    Their names are documented; that the hosts reach each other at a port of
    our choice is not.
    """
    if environ.get("MA_TASK_NAME", "").startswith("ps"):
        raise UserError(
            "MA_TASK_NAME is {}, a parameter server, and all processes here "
            "are workers. Take a custom image, or an engine that starts one "
            "worker a node: docs/many-gpus.md.".format(
                environ["MA_TASK_NAME"]))
    hosts = [host.strip() for host in environ.get(
        "VC_WORKER_HOSTS", "").split(",") if host.strip()]
    index = environ.get("VC_TASK_INDEX", "").strip()
    if name != "VC_WORKER_NUM" or number != str(len(hosts)) or not (
            index.isdigit() and int(index) < len(hosts)):
        raise UserError(
            "{} is {}, so that VC_WORKER_HOSTS must name as many hosts and "
            "VC_TASK_INDEX be this one's, from 0; they are {!r} and {!r}. Set "
            "TF_CONFIG in their place, or take one node.".format(
                name, number, ",".join(hosts), index))
    addresses = tuple(host if re.search(r":[0-9]+$", host)
                      else "{}:{}".format(host, PORT) for host in hosts)
    _check_addresses(addresses)
    return Cluster(addresses, int(index))


def _free_ports(count):
    with contextlib.ExitStack() as stack:
        bound = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in bound:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in bound]
