"""What the adapter reads from the environment, and the rank table."""

import json
import os

from ascend_fake.errors import fatal, record, refuse

ADVICE = "; convert version 0.1 to 1.0 first"


def rank_size():
    text = os.environ.get("RANK_SIZE", "1")
    if not text.isdigit() or int(text) < 1:
        refuse("RANK_SIZE = {!r} is no positive integer".format(text), "3")
    return int(text)


def rank_id():
    text = os.environ.get("RANK_ID")
    if text is None:
        refuse("RANK_ID is unset: an error is logged, init fails", "1.6")
    if not text.isdigit():
        refuse("RANK_ID = {!r} is no integer >= 0".format(text), "3")
    return int(text)


def device_id():
    """ASCEND_DEVICE_ID wins, then DEVICE_ID, then a warning and 0."""
    for name in ("ASCEND_DEVICE_ID", "DEVICE_ID"):
        text = os.environ.get(name)
        if text is None:
            continue
        if not text.isdigit():
            fatal("{} = {!r} is no integer >= 0".format(name, text), "1.6")
        return int(text)
    if "RANK_TABLE_FILE" in os.environ:
        refuse("neither ASCEND_DEVICE_ID nor DEVICE_ID: each rank would use "
               "device 0", "1.6")
    record("no_device_id")
    return 0


def check(session_device_id=None):
    """Raises where GE or HCCL would not come up; returns the device id."""
    device = device_id() if session_device_id is None else session_device_id
    size = rank_size()
    table = os.environ.get("RANK_TABLE_FILE")
    job = os.environ.get("JOB_ID")
    if not job:
        record("no_job_id")
    if size > 1 and not job:
        refuse("RANK_SIZE > 1 needs JOB_ID", "1.5")
    if size > 1 and table is None:
        refuse("RANK_SIZE > 1 needs RANK_TABLE_FILE", "1.6, 3")
    if table is not None:
        check_table(table, rank_id(), size)
    return device


def check_table(path, rank, size):
    """A version 1.0 table with `size` devices, `rank` one of them."""
    ranks = [device["rank_id"] for device in devices(load(path))]
    if len(ranks) != size:
        refuse("RANK_SIZE is {}, {} lists {} devices".format(
            size, path, len(ranks)), "3")
    if sorted(ranks) != sorted(map(str, range(size))):
        refuse("rank_id in {}: {}, not 0..{}".format(
            path, ranks, size - 1), "3")
    if str(rank) not in ranks:
        refuse("RANK_ID {} is not in {}".format(rank, path), "3")


def load(path):
    if os.path.isdir(path):
        refuse("RANK_TABLE_FILE {!r} is a folder".format(path), "3")
    try:
        with open(path) as file:
            table = json.load(file)
    except (OSError, ValueError) as error:
        refuse("RANK_TABLE_FILE cannot be read: {}".format(error), "3")
    if not isinstance(table, dict):
        refuse("{} is no JSON object".format(path), "3")
    _check_scalars(table, path)
    return table


def _check_scalars(value, where):
    if isinstance(value, dict):
        for key in value:
            _check_scalars(value[key], key)
    elif isinstance(value, list):
        for item in value:
            _check_scalars(item, where)
    elif not isinstance(value, str):
        refuse("rank table: {} = {!r} is no string".format(where, value),
               "3")


def devices(table):
    """The devices of a version 1.0 table, in its order."""
    if table.get("version") != "1.0":
        refuse("rank table: version {!r}".format(table.get("version"))
               + ADVICE, "3")
    if table.get("status") != "completed":
        refuse("rank table: status {!r}, not completed".format(
            table.get("status")), "3")
    servers = _list(table, "server_list")
    if table.get("server_count") != str(len(servers)):
        refuse("rank table: server_count {!r} for {} servers".format(
            table.get("server_count"), len(servers)), "3")
    return [device for server in servers for device in _devices_of(server)]


def _devices_of(server):
    found = _list(server, "device")
    _need(server, ("server_id",))
    for device in found:
        _need(device, ("device_id", "device_ip", "rank_id"))
        if not device["device_id"].isdigit():
            refuse("rank table: device_id {!r}".format(
                device["device_id"]), "3")
    return found


def _need(mapping, keys):
    if not isinstance(mapping, dict):
        refuse("rank table: {!r} is no object".format(mapping), "3")
    for key in keys:
        if key not in mapping:
            refuse("rank table: {} is missing".format(key), "3")


def _list(mapping, key):
    _need(mapping, (key,))
    if not isinstance(mapping[key], list) or not mapping[key]:
        refuse("rank table: {} is no filled list".format(key), "3")
    return mapping[key]
