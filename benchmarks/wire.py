"""A network between processes of this machine, as fast as is wanted.

Each process is in a network namespace of its own with one end of a pair of
virtual interfaces, and what it sends passes a token bucket. Needs root, `ip`
and `tc`.
"""

import contextlib
import ctypes
import os
import subprocess

from nonlocal_tf.errors import UserError

_BURST_SECONDS = 0.002          # of the rate, sent at once after a pause


def address(rank):
    """Of rank 0 or 1."""
    return "10.251.77.{}".format(1 + rank)


@contextlib.contextmanager
def link():
    """A context with two namespaces and a link without a limit.

    Yields their names, by rank.

    Raises:
      UserError: there can be none.
    """
    names = ["nonlocal_tf-{}-{}".format(os.getpid(), rank)
             for rank in range(2)]
    try:
        for name in names:
            _run("ip netns add " + name)
        _run("ip link add end netns {} type veth peer name end netns {}"
             .format(*names))
        for rank, name in enumerate(names):
            _run("ip -n {} addr add {}/24 dev end".format(name, address(rank)))
            for device in ("lo", "end"):
                _run("ip -n {} link set {} up".format(name, device))
        yield names
    finally:
        for name in names:
            subprocess.call(["ip", "netns", "del", name],
                            stderr=subprocess.DEVNULL)


def limit(names, bits):
    """From here on each way has so many bits a second."""
    for name in names:
        _run("tc -n {} qdisc replace dev end root tbf rate {:.0f}bit burst "
             "{:.0f} latency 20ms".format(
                 name, bits, max(2 ** 17, _BURST_SECONDS * bits / 8)))


def enter(name):
    """This thread, and those that it starts, go to a namespace."""
    with open("/run/netns/" + name) as file:
        if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), 0):
            raise OSError(ctypes.get_errno(), "setns", file.name)


def sent():
    """Bytes that have left by any interface of this process's namespace."""
    with open("/proc/self/net/dev") as file:
        return sum(int(line.split(":")[1].split()[8])
                   for line in file if ":" in line)


def _run(line):
    try:
        subprocess.run(line.split(), check=True, stderr=subprocess.PIPE,
                       env=dict(os.environ, LC_ALL="C"))
    except (OSError, subprocess.CalledProcessError) as error:
        raise UserError("--gbit needs root, ip and tc with tbf; {!r} failed "
                        "({}). Leave --gbit out.".format(line, (
                            getattr(error, "stderr", None) or str(
                                error).encode()).decode().strip()))
