"""Which of how many processes this is, from ModelArts' variables and table.

One process trains on one card. ModelArts gives each process RANK_ID,
RANK_SIZE and a device in its environment, and all of them one rank table.
"""

import json
import os
import re
import time
from typing import Dict, NamedTuple, Optional

from nonlocal_tf import storage
from nonlocal_tf.command import say
from nonlocal_tf.errors import UserError

TABLE = "jobstart_hccl.json"            # in a folder that is named in its place
_POLL_SECONDS = 1.0
# What many cards need and may not be set. Any job's number, the same for all;
# seconds to wait for each other, while rank 0 may be fetching a checkpoint.
_DEFAULTS = {"JOB_ID": "10086", "HCCL_CONNECT_TIMEOUT": "600"}


class Ranks(NamedTuple):
    """The place of this process among those of the job."""

    rank: int                           # 0 is the one that writes
    size: int
    device: Optional[int]               # logical id of the card, or None
    environment: Dict[str, str]         # what the adapter needs besides


class _Card(NamedTuple):
    """One entry of a rank table."""

    rank: int
    server: str
    pod: str                            # "" in a table of version 1.0
    device: str
    address: str


def find(environ, wait_seconds, folder):
    """Reads the environment and the rank table.

    Args:
      environ: a mapping such as os.environ; it is not changed.
      wait_seconds: how long a table may take to be completed.
      folder: where a table of version 0.1 goes as one of 1.0.
    Returns:
      A `Ranks`; its `environment` is what to add to `environ`.
    Raises:
      UserError: over what would end the adapter or let it hang.
    """
    size = _number(environ, "RANK_SIZE", 1)
    rank = _number(environ, "RANK_ID", 0)
    device = _number(environ, "ASCEND_DEVICE_ID", 0)
    if device is None:
        device = _number(environ, "DEVICE_ID", 0)
    added = {}
    path = environ.get("RANK_TABLE_FILE")
    if path:
        path = os.path.join(path, TABLE) if os.path.isdir(path) else path
        table = _wait_for(path, wait_seconds)
        cards = _cards(table, path)
        size = _checked_size(size, cards, path)
        rank = _rank_among(cards, rank, device, environ, path)
        if table.get("version") != "1.0":
            path = _write(cards, folder)
        added.update(RANK_TABLE_FILE=path, RANK_ID=str(rank))
    _check(rank, size, path, environ)
    rank, size = rank or 0, size or 1
    if rank >= size:
        raise UserError("RANK_ID must be below RANK_SIZE; got {} of {}. Set "
                        "both, or neither.".format(rank, size))
    added["RANK_SIZE"] = str(size)
    if size > 1:
        added.update((name, environ.get(name) or value)
                     for name, value in _DEFAULTS.items())
    return Ranks(rank, size, device, {
        name: value for name, value in added.items()
        if environ.get(name) != value})


def _number(environ, name, least):
    """A variable as a whole number; None where it is not set."""
    text = environ.get(name, "").strip()
    if not text:
        return None
    if not re.match(r"^[0-9]+$", text) or int(text) < least:
        raise UserError("{} must be a whole number from {}; got {!r}. Set it, "
                        "or leave it out.".format(name, least, text))
    return int(text)


def _check(rank, size, path, environ):
    """What several cards need."""
    if (size or 1) == 1:
        return
    if rank is None:
        raise UserError(
            "RANK_SIZE is {}, so that each process needs its own RANK_ID from "
            "0; it is not set. Start one process a card, each with RANK_ID, "
            "or set RANK_SIZE=1.".format(size))
    if not path and not environ.get("CM_CHIEF_IP"):
        raise UserError(
            "RANK_SIZE is {}, so that RANK_TABLE_FILE must name the rank table "
            "of the job; it is not set. Set it, or set RANK_SIZE=1.".format(
                size))


def _wait_for(path, seconds):
    """The table, as soon as its status is completed."""
    end = time.monotonic() + seconds
    said = False
    while True:
        table, state = _load(path)
        if state == "completed":
            return table
        if time.monotonic() >= end:
            raise UserError(
                "The rank table {!r} must be completed within {:g} s; it is "
                "{}. Look into the job's events, or raise "
                "--rank_table_seconds.".format(path, seconds, state))
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
        return None, error.strerror
    except (ValueError, KeyError, TypeError):
        return None, "not readable as a rank table"


def _cards(table, path):
    """The cards of a table of version 1.0 or 0.1, in the order of ranks."""
    try:
        if "server_list" in table:
            cards = [_Card(int(each["rank_id"]), str(server["server_id"]), "",
                           str(each["device_id"]), str(each["device_ip"]))
                     for server in table["server_list"]
                     for each in server["device"]]
        else:
            cards = [_Card(0, str(instance["server_id"]),
                           str(instance["pod_name"]), str(each["device_id"]),
                           str(each["device_ip"]))
                     for group in table["group_list"]
                     for instance in group["instance_list"]
                     for each in instance["devices"]]
            cards = [card._replace(rank=rank)
                     for rank, card in enumerate(cards)]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            "The rank table {!r} must have server_list (version 1.0) or "
            "group_list (0.1) with its devices; {} {}. Have it written anew."
            .format(path, type(error).__name__, error))
    cards.sort()
    if [card.rank for card in cards] != list(range(len(cards))) or not cards:
        raise UserError(
            "The rank table {!r} must have the ranks 0, 1, 2 ... once each; "
            "got {}. Have it written anew.".format(
                path, [card.rank for card in cards]))
    return cards


def _checked_size(size, cards, path):
    if size not in (None, len(cards)):
        raise UserError(
            "RANK_SIZE must be the number of cards in the rank table {!r}, "
            "{}; got {}. Mend the one that is wrong.".format(
                path, len(cards), size))
    return len(cards)


def _rank_among(cards, rank, device, environ, path):
    """RANK_ID, or the rank of the one card that this process can have."""
    if rank is not None:
        return rank
    if len(cards) == 1:
        return 0
    pod = environ.get("POD_NAME")
    mine = [card for card in cards
            if (not pod or card.pod in ("", pod))
            and (device is None or card.device == str(device))]
    if len(mine) == 1:
        return mine[0].rank
    raise UserError(
        "Each process needs its RANK_ID; it is not set, and {} of the {} "
        "cards in {!r} may be meant. Set RANK_ID.".format(
            len(mine), len(cards), path))


def _write(cards, folder):
    """A table of version 1.0 for cards of a table of version 0.1."""
    servers = {}
    for card in cards:
        servers.setdefault(card.server, []).append({
            "device_id": card.device, "device_ip": card.address,
            "rank_id": str(card.rank)})
    storage.make_folder(folder, "--cache_dir")
    path = os.path.join(os.path.abspath(folder), TABLE)
    storage.write_text(path, json.dumps({
        "version": "1.0", "status": "completed",
        "server_count": str(len(servers)),
        "server_list": [{"server_id": server, "device": devices}
                        for server, devices in servers.items()]}, indent=1))
    return path
