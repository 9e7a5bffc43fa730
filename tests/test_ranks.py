"""Ranks and rank tables: what the adapter would stumble over is caught."""

import json

import pytest

from nonlocal_tf.errors import UserError
from nonlocal_tf.platforms import ranks


def table_1_0(count=2, **changes):
    """Version 1.0, all scalars strings, as in ModelZoo's 8p.json."""
    return dict({
        "version": "1.0", "status": "completed", "server_count": "1",
        "server_list": [{"server_id": "10.0.0.1", "device": [
            {"device_id": str(number), "device_ip": "192.1.0." + str(number),
             "rank_id": str(number)} for number in range(count)]}]}, **changes)


def table_0_1(pods=("job-0",), cards=2, status="completed"):
    """Version 0.1, as ModelArts writes it: without ranks."""
    return {
        "status": status, "group_count": "1", "group_list": [{
            "group_name": "job", "device_count": str(len(pods) * cards),
            "instance_count": str(len(pods)), "instance_list": [{
                "pod_name": pod, "server_id": "10.0.0." + str(place),
                "devices": [{"device_id": str(number), "device_ip":
                             "192.{}.0.{}".format(place, number)}
                            for number in range(cards)]}
                for place, pod in enumerate(pods)]}]}


@pytest.fixture
def settle(tmp_path):
    """A `Ranks`, and the environment as it is after that."""
    def settle(environ, table=None, device=None):
        environ = dict(environ)
        if table is not None:
            path = tmp_path / "table.json"
            path.write_text(json.dumps(table))
            environ.setdefault("RANK_TABLE_FILE", str(path))
        return ranks.settle(
            environ, str(tmp_path / "cache"), device), environ
    return settle


def test_without_variables_there_is_one_process(settle):
    assert settle({}) == ((0, 1, None), {"RANK_SIZE": "1"})


def test_ascend_device_id_wins(settle):
    both = {"ASCEND_DEVICE_ID": "3", "DEVICE_ID": "5"}
    assert settle(both)[0].device == 3
    assert settle({"DEVICE_ID": "5"})[0].device == 5


def test_the_device_of_an_option_wins_and_is_enough(settle):
    assert settle({"ASCEND_DEVICE_ID": "3"}, device=0)[0].device == 0
    assert settle({"RANK_ID": "1"}, table_1_0(), 1)[0] == (1, 2, 1)


def test_one_card_takes_device_0_by_itself(settle):
    assert settle({}, table_1_0(1))[0] == (0, 1, None)
    assert settle({"RANK_SIZE": "1", "CM_CHIEF_IP": "10.0.0.1"})[0].size == 1


def test_what_is_set_stays_with_a_table_of_version_1_0(settle, tmp_path):
    environ = {"RANK_ID": "1", "RANK_SIZE": "2", "JOB_ID": "7",
               "ASCEND_DEVICE_ID": "1", "HCCL_CONNECT_TIMEOUT": "120",
               "RANK_TABLE_FILE": str(tmp_path / "table.json")}
    assert settle(environ, table_1_0()) == ((1, 2, 1), environ)


def test_size_and_job_follow_from_the_table(settle):
    place, environ = settle(
        {"RANK_ID": "1", "ASCEND_DEVICE_ID": "1"}, table_1_0())
    assert place.size == 2
    assert (environ["RANK_SIZE"], environ["JOB_ID"],
            environ["HCCL_CONNECT_TIMEOUT"]) == ("2", "10086", "600")


@pytest.mark.parametrize("table", [table_1_0(), table_0_1()])
def test_pod_name_goes_as_the_adapter_would_give_it_for_the_rank(
        settle, table):
    _, environ = settle({"RANK_ID": "1", "POD_NAME": "job-0",
                         "ASCEND_DEVICE_ID": "1"}, table)
    assert "POD_NAME" not in environ and environ["RANK_ID"] == "1"


def test_the_variable_may_name_a_folder(settle, tmp_path):
    path = tmp_path / "jobstart_hccl.json"
    path.write_text(json.dumps(table_1_0(1)))
    _, environ = settle({"RANK_TABLE_FILE": str(tmp_path)})
    assert environ["RANK_TABLE_FILE"] == str(path)
    assert environ["RANK_ID"] == "0"


def test_a_table_of_version_0_1_becomes_one_of_1_0(settle):
    _, environ = settle({"RANK_ID": "3", "ASCEND_DEVICE_ID": "1"},
                        table_0_1(("job-0", "job-1")))
    with open(environ["RANK_TABLE_FILE"]) as file:
        written = json.load(file)
    assert written == {
        "version": "1.0", "status": "completed", "server_count": "2",
        "server_list": [
            {"server_id": "10.0.0.0", "device": [
                {"device_id": "0", "device_ip": "192.0.0.0", "rank_id": "0"},
                {"device_id": "1", "device_ip": "192.0.0.1", "rank_id": "1"}]},
            {"server_id": "10.0.0.1", "device": [
                {"device_id": "0", "device_ip": "192.1.0.0", "rank_id": "2"},
                {"device_id": "1", "device_ip": "192.1.0.1", "rank_id": "3"}]},
        ]}
    assert settle(environ) == ((3, 4, 1), environ)       # once more


def without(key, count=1):
    """Version 1.0 on servers of one card each, which lacks a key."""
    servers = [{"server_id": str(number), "device": [
        {"device_id": "0", "device_ip": "192.1.0." + str(number),
         "rank_id": str(number)}]} for number in range(count)]
    for each in servers:
        each.pop(key, each["device"][0].pop(key, None))
    return table_1_0(server_count=str(count), server_list=servers)


@pytest.mark.parametrize("changes", [
    {"server_count": 1}, {"server_count": "2"}, {"version": 1.0},
    {"server_list": [{"server_id": "10.0.0.1", "device": [
        {"device_id": 0, "device_ip": "192.1.0.0", "rank_id": 0},
        {"device_id": 1, "device_ip": "192.1.0.1", "rank_id": 1}]}]}])
def test_numbers_become_texts_and_servers_are_counted(
        settle, tmp_path, changes):
    """HCCL reads texts alone, and refuses another count."""
    _, environ = settle({"RANK_ID": "1", "ASCEND_DEVICE_ID": "1"},
                        table_1_0(**changes))
    assert environ["RANK_TABLE_FILE"] != str(tmp_path / "table.json")
    with open(environ["RANK_TABLE_FILE"]) as file:
        assert json.load(file) == table_1_0()
    assert settle(environ) == ((1, 2, 1), environ)       # once more


def test_what_is_allowed_or_unknown_stays(settle, tmp_path):
    """One server needs no device_ip; 1.2 is of newer toolkits."""
    given = {"RANK_ID": "0", "RANK_TABLE_FILE": str(tmp_path / "table.json"),
             "ASCEND_DEVICE_ID": "0"}
    pod = {"version": "1.2", "status": "completed", "server_count": 2,
           "server_list": [{"server_id": name, "device": [
               {"device_id": "0", "super_device_id": name, "rank_id": name}]}
               for name in "01"]}
    for table in (without("device_ip"), pod):
        _, environ = settle(given, table)
        assert environ["RANK_TABLE_FILE"] == given["RANK_TABLE_FILE"]


def test_variables_without_a_value_go(settle):
    """RANK_TABLE_FILE alone turns HCCL on; "" is no number of a device."""
    _, environ = settle({
        "RANK_TABLE_FILE": "", "RANK_SIZE": "1", "RANK_ID": "",
        "ASCEND_DEVICE_ID": " ", "DEVICE_ID": ""})
    assert environ == {"RANK_SIZE": "1"}


def test_the_folder_may_come_later_too(settle, tmp_path, monkeypatch):
    folder = tmp_path / "user" / "config"

    def sleep(_):
        folder.mkdir(parents=True)
        (folder / ranks.TABLE).write_text(json.dumps(table_1_0(1)))

    monkeypatch.setattr(ranks.time, "sleep", sleep)
    monkeypatch.setattr(ranks, "WAIT_SECONDS", 5.0)
    _, environ = settle({"RANK_TABLE_FILE": str(folder)})
    assert environ["RANK_TABLE_FILE"] == str(folder / "jobstart_hccl.json")


def test_it_waits_until_the_table_is_completed(settle, tmp_path, monkeypatch):
    """The file is completed while the waiting sleeps."""
    path = tmp_path / "table.json"

    def sleep(_):
        path.write_text(json.dumps(table_0_1()))

    monkeypatch.setattr(ranks.time, "sleep", sleep)
    place, _ = settle({"RANK_ID": "1", "ASCEND_DEVICE_ID": "1"},
                      table_0_1(status="initializing"))
    assert (place.rank, place.size) == (1, 2)


@pytest.mark.parametrize("content, state", [
    (json.dumps(table_0_1(status="initializing")), "it is initializing"),
    ("{\"status\": ", "not readable"), (None, "not there")])
def test_the_waiting_has_a_limit(settle, tmp_path, monkeypatch, content, state):
    path = tmp_path / "table.json"
    if content is not None:
        path.write_text(content)
    monkeypatch.setattr(ranks, "WAIT_SECONDS", 0.02)
    with pytest.raises(UserError, match=state):
        settle({"RANK_TABLE_FILE": str(path)})


@pytest.mark.parametrize("environ, table, words", [
    ({"RANK_SIZE": "two"}, None, "RANK_SIZE must be a whole number"),
    ({"RANK_SIZE": "0"}, None, "RANK_SIZE must be a whole number from 1"),
    ({"RANK_ID": "-1"}, None, "RANK_ID must be a whole number"),
    ({"ASCEND_DEVICE_ID": "npu0"}, None, "ASCEND_DEVICE_ID must be"),
    ({"CM_CHIEF_IP": "10.0.0.1", "CM_WORKER_SIZE": "2"}, None,
     "got CM_CHIEF_IP and CM_WORKER_SIZE"),
    ({"RANK_ID": "0", "ASCEND_DEVICE_ID": "0", "CM_WORKER_SIZE": "2"},
     table_1_0(), "got CM_WORKER_SIZE"),
    ({"RANK_TABLE_FILE_V_1_0": "/t.json"}, None,
     "RANK_TABLE_FILE must name.*but RANK_TABLE_FILE_V_1_0 is /t.json"),
    ({"RANK_SIZE": "2", "RANK_ID": "0"}, None,
     "RANK_TABLE_FILE must name.*but RANK_SIZE is 2"),
    ({"RANK_ID": "1"}, None, "RANK_ID must be below RANK_SIZE"),
    ({"RANK_ID": "2", "DEVICE_ID": "1"}, table_1_0(), "below RANK_SIZE; got 2"),
    ({"RANK_ID": "0", "RANK_SIZE": "8"}, table_1_0(), "2; got 8"),
    ({}, table_1_0(), "needs its own RANK_ID"),
    ({"ASCEND_DEVICE_ID": "1"}, table_1_0(), "needs its own RANK_ID"),
    ({"RANK_ID": "1"}, table_1_0(), "needs its own ASCEND_DEVICE_ID"),
    ({"RANK_ID": "0"}, {"status": "completed"}, "must have server_list"),
    ({"RANK_ID": "0"}, table_1_0(server_list=[]), "0, 1, 2"),
    ({"RANK_ID": "0"}, table_1_0(server_list=[{"server_id": "1", "device": [
        {"device_id": "0", "device_ip": "1", "rank_id": "1"}]}]), "0, 1, 2"),
    ({"RANK_ID": "0"}, without("server_id"), "it lacks 'server_id'"),
    ({"RANK_ID": "0"}, without("device_id"), "it lacks 'device_id'"),
    ({"RANK_ID": "0"}, without("device_ip", 2), "it lacks 'device_ip'"),
    ({"RANK_ID": "0"}, {"status": "completed", "server_list": []},
     "it lacks 'version'"),
    ({"RANK_ID": "0"}, table_1_0(version=""), "is empty"),
])
def test_what_cannot_work_is_one_line(settle, environ, table, words):
    with pytest.raises(UserError, match=words) as error:
        settle(environ, table)
    assert "\n" not in str(error.value)
