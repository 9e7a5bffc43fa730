"""What the adapter reads from the environment, and the rank table."""

import json
import os

from ascend_fake.errors import fatal, refuse


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


def check(has_device):
    """Raises where GE or HCCL would not come up.

    Args:
      has_device: whether the session's options name a device.
    """
    for name in ("ASCEND_DEVICE_ID", "DEVICE_ID"):      # the first wins
        text = os.environ.get(name)
        if text is not None and not has_device:
            has_device = True
            if not text.isdigit():
                fatal("{} = {!r} is no integer >= 0".format(name, text), "1.6")
    size = rank_size()
    if size > 1 and not os.environ.get("JOB_ID"):
        refuse("RANK_SIZE > 1 needs JOB_ID", "1.5")
    for name in {"CM_CHIEF_IP", "CM_WORKER_SIZE"} & set(os.environ):
        refuse("{}: beside RANK_TABLE_FILE or RANK_SIZE HCCL stays off; by "
               "itself it is not known here".format(name), "10")
    if "RANK_TABLE_FILE" not in os.environ:
        if size > 1:
            refuse("RANK_SIZE > 1 needs RANK_TABLE_FILE", "1.6, 3")
        return
    if size > 1 and not has_device:
        refuse("neither ASCEND_DEVICE_ID nor DEVICE_ID: each rank would use "
               "device 0", "1.6")
    if "POD_NAME" in os.environ:
        fatal("POD_NAME is given in place of RANK_ID, and a table of version "
              "1.0 has no pods: Initialize ge failed", "10")
    path, rank = os.environ["RANK_TABLE_FILE"], rank_id()
    ranks = [device["rank_id"] for device in devices(path)]
    if sorted(ranks) != sorted(map(str, range(size))):
        refuse("rank_id in {}: {}, not 0..{}".format(
            path, ranks, size - 1), "3")
    if str(rank) not in ranks:
        refuse("RANK_ID {} is not in {}".format(rank, path), "3")


def devices(path):
    """The devices of a version 1.0 table, in its order."""
    try:
        with open(path) as file:
            table = json.load(file)
        _check_scalars(table, path)
        if (table["version"], table["status"], table["server_count"]) != (
                "1.0", "completed", str(len(table["server_list"]))):
            refuse("rank table: version 1.0, completed, a right server_count; "
                   "convert version 0.1 to 1.0 first", "3")
        found = [device for server in table["server_list"]
                 if server["server_id"] for device in server["device"]]
        for device in found:
            int(device["device_id"]), device["device_ip"], device["rank_id"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        refuse("RANK_TABLE_FILE cannot be read: {!r}".format(error), "3")
    return found


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
