"""Which of how many processes this is, from ModelArts' variables and table.

One process trains on one card. ModelArts gives each process RANK_ID,
RANK_SIZE and a device in its environment, and all of them one rank table.
"""

import itertools
import json
import os
import re
import time
from typing import NamedTuple, Optional

from nonlocal_tf import storage
from nonlocal_tf.command import say
from nonlocal_tf.errors import UserError
from nonlocal_tf.platforms import cluster

TABLE = "jobstart_hccl.json"            # in a folder that is named in its place
WAIT_SECONDS = 600.0                    # for a table that is not completed
_POLL_SECONDS = 1.0
# What many cards need and may not be set. Any job's number, the same for all;
# seconds to wait for each other, while rank 0 may be fetching a checkpoint.
_DEFAULTS = {"JOB_ID": "10086", "HCCL_CONNECT_TIMEOUT": "600"}
# That the adapter looks for, or reads as a number, even if they are empty.
_NO_BLANKS = ("RANK_TABLE_FILE", "RANK_SIZE", "RANK_ID", "ASCEND_DEVICE_ID",
              "DEVICE_ID", "CM_CHIEF_IP", "CM_WORKER_SIZE")


class Ranks(NamedTuple):
    """The place of this process among those of the job."""

    rank: int                           # 0 is the one that writes
    size: int
    device: Optional[int]               # logical id of the card, or None


def processes(environ, platform):
    """How many train together, as far as the environment alone tells."""
    if platform == "gpu":
        return cluster.settle(environ).size
    return _number(environ, "RANK_SIZE", 1) or 1


def settle(environ, folder, device=None):
    """Reads the environment and the rank table; prepares it for the adapter.

    A table of version 0.1 is converted to 1.0, which has no pod names: the
    adapter would give POD_NAME for RANK_ID, so that it goes. So do variables
    that are set to nothing.

    Args:
      environ: os.environ, which is changed.
      folder: where a table goes that had to be changed.
      device: of --npu_option session_device_id, which the adapter prefers.
    Returns:
      A `Ranks`.
    Raises:
      UserError: over what would end the adapter or let it hang.
    """
    for name in _NO_BLANKS:
        if not environ.get(name, "").strip():
            environ.pop(name, None)
    size = _number(environ, "RANK_SIZE", 1)
    rank = _number(environ, "RANK_ID", 0)
    device = _device(environ, device)
    path = environ.get("RANK_TABLE_FILE")
    _check_meeting(environ, path, size)
    if path:
        table, path = _wait_for(path)
        written, cards = _as_hccl_has_it(table, path)
        if size not in (None, cards):
            raise UserError(
                "RANK_SIZE must be the number of cards in the rank table "
                "{!r}, {}; got {}. Mend the one that is wrong.".format(
                    path, cards, size))
        size = cards
    size = size or 1
    _check_place(rank, size, device)
    rank = rank or 0
    environ["RANK_SIZE"] = str(size)
    if path:
        if written != table:
            storage.make_folder(folder, "--cache_dir")
            path = os.path.join(os.path.abspath(folder), TABLE)
            storage.write_text(path, json.dumps(written, indent=1))
        environ.update(RANK_TABLE_FILE=path, RANK_ID=str(rank))
        environ.pop("POD_NAME", None)
    if size > 1:
        environ.update((name, environ.get(name) or value)
                       for name, value in _DEFAULTS.items())
    return Ranks(rank, size, device)


def _device(environ, option):
    """The card's logical id: the option's, else the environment's, or None."""
    device = _number(environ, "ASCEND_DEVICE_ID", 0)
    if device is None:
        device = _number(environ, "DEVICE_ID", 0)
    return device if option is None else option


def _check_meeting(environ, path, size):
    """Cards find each other by a rank table, and no other way."""
    chief = [name for name in ("CM_CHIEF_IP", "CM_WORKER_SIZE")
             if environ.get(name)]
    if chief and (path or size != 1):   # HCCL would stay off
        raise UserError(
            "Cards must find each other by a rank table here; got {}. Unset "
            "them, and set RANK_TABLE_FILE for several cards.".format(
                " and ".join(chief)))
    told = ["{} is {}".format(name, environ[name]) for name in (
        "RANK_SIZE", "RANK_TABLE_FILE_V_1_0") if environ.get(name)]
    if told and not path and size != 1:
        raise UserError(
            "RANK_TABLE_FILE must name the rank table of several cards; it is "
            "not set, but {}. Set it, or set RANK_SIZE=1.".format(
                " and ".join(told)))


def _check_place(rank, size, device):
    for name, value in (("RANK_ID", rank), ("ASCEND_DEVICE_ID", device)):
        if value is None and size > 1:
            raise UserError(
                "There are {} cards, so that each process needs its own {} "
                "from 0; it is not set. Start one process a card, each with "
                "both RANK_ID and ASCEND_DEVICE_ID.".format(size, name))
    if (rank or 0) >= size:
        raise UserError("RANK_ID must be below RANK_SIZE; got {} of {}. Set "
                        "both, or neither.".format(rank, size))


def _number(environ, name, least):
    """A variable as a whole number; None where it is not set."""
    text = environ.get(name, "").strip()
    if not text:
        return None
    if not re.match(r"^[0-9]+$", text) or int(text) < least:
        raise UserError("{} must be a whole number from {}; got {!r}. Set it, "
                        "or leave it out.".format(name, least, text))
    return int(text)


def _wait_for(place):
    """The table, as soon as its status is completed, and its path.

    Args:
      place: the path, or a folder, which may come later too.
    """
    end = time.monotonic() + WAIT_SECONDS
    said = False
    while True:
        path = os.path.join(place, TABLE) if os.path.isdir(place) else place
        table, state = _load(path)
        if state == "completed":
            return table, path
        if time.monotonic() >= end:
            raise UserError(
                "The rank table {!r} must be completed within {:g} s; it is "
                "{}. Look into the job's events.".format(
                    path, WAIT_SECONDS, state))
        if not said:
            say("Waiting for the rank table {} ({})".format(path, state))
            said = True
        time.sleep(min(_POLL_SECONDS, max(end - time.monotonic(), 0.01)))


def _load(path):
    """A table and its status, or None and what is wrong."""
    try:
        with open(path, encoding="utf-8") as file:
            table = json.load(file)
        return table, str(table["status"])
    except FileNotFoundError:
        return None, "not there"
    except OSError as error:
        return None, storage.gist(error)
    except (ValueError, KeyError, TypeError):
        return None, "not readable as a rank table"


def _as_hccl_has_it(table, path):
    """The table in texts, its servers counted; how many cards it has.

    One of version 0.1 becomes 1.0. Its cards have no ranks: they count in
    their order. Of versions beyond 1.0 only the ranks are looked at.
    """
    try:
        if "server_list" not in table:
            servers, rank = {}, itertools.count()
            for group in table["group_list"]:
                for instance in group["instance_list"]:
                    servers.setdefault(str(instance["server_id"]), []).extend({
                        "device_id": each["device_id"],
                        "device_ip": each["device_ip"],
                        "rank_id": str(next(rank))}
                        for each in instance["devices"])
            table = {
                "version": "1.0", "status": "completed",
                "server_list": [{"server_id": server, "device": devices}
                                for server, devices in servers.items()]}
        if not table["version"]:
            raise ValueError("its version is empty")
        if str(table["version"]) in ("1", "1.0"):
            table = dict(_in_texts(table), version="1.0", server_count=str(
                len(table["server_list"])))
            _check_texts(table["server_list"])
        ranks = sorted(int(each["rank_id"]) for server in table["server_list"]
                       for each in server["device"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            "The rank table {!r} must have server_list (version 1.0) or "
            "group_list (0.1) with its devices; {}{}. Have it written anew."
            .format(path, "it lacks " if isinstance(error, KeyError) else "",
                    error))
    if ranks != list(range(len(ranks))) or not ranks:
        raise UserError(
            "The rank table {!r} must have the ranks 0, 1, 2 ... once each; "
            "got {}. Have it written anew.".format(path, ranks))
    return table, len(ranks)


def _check_texts(servers):
    """Raises KeyError or ValueError where HCCL needs a text."""
    cards = [each for server in servers for each in server["device"]]
    texts = [each["server_id"] for each in servers]
    if len(servers) > 1:                # one alone needs none, by HCCL's source
        texts += [each["device_ip"] for each in cards]
    if not all(isinstance(text, str) and text for text in texts):
        raise ValueError("a server_id or device_ip is empty")
    for each in cards:
        int(each["device_id"])


def _in_texts(value):
    """A table, or a part of it, with its numbers as texts."""
    if isinstance(value, dict):
        return {name: _in_texts(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_in_texts(each) for each in value]
    return str(value) if isinstance(value, (int, float)) else value
