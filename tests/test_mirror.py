"""Whose results a cache and a bucket hold, and copies that are out of date.

Files stand for checkpoints here: what they hold names the run and the step.
The jobs around this are in test_job.py.
"""

import json
import time

import pytest

pytest.importorskip("moto.server", reason="needs moto[s3] and flask")
pytest.importorskip("boto3", reason="needs boto3")

from nonlocal_tf.training import mirror  # noqa: E402

pytest_plugins = ["obs_fixtures"]


def run_files(name, *steps, earlier=False):
    """File -> bytes of a run; `earlier`: of a version that named none."""
    files = {"metrics.jsonl": name, "PB_Model/model.pb": name}
    for step in steps:
        prefix = "Model/model.ckpt-{}".format(step)
        files[prefix + ".data-00000-of-00001"] = files[prefix + ".index"] = (
            "{} {:2}".format(name, step))
        files[prefix + ".json"] = json.dumps(
            {} if earlier else {"run": name})
    return {file: text.encode() for file, text in files.items()}


def of_checkpoints(files):
    return {name: content for name, content in files.items()
            if name.startswith("Model/model.ckpt-")}


def below(folder):
    return {str(path.relative_to(folder)): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file() and path.name[0] != "."}


@pytest.fixture
def start(bucket, tmp_path, capfd):
    """A job's start and end, with no step between; returns what it said."""
    def act(here, there):
        for name, content in here.items():
            path = tmp_path / "run" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        for name, content in there.items():
            bucket.put("run/" + name, content)
        results = mirror.Results(bucket.url + "/run", str(tmp_path / "run"))
        results.fetch()
        results.push()
        return capfd.readouterr().out
    return act


def in_bucket(bucket):
    return {key[4:]: bucket.get(key) for key in bucket.keys()
            if key[-1] != "/"}


@pytest.mark.parametrize("earlier", [False, True])
@pytest.mark.parametrize("step", [4, 8, 12])
def test_a_cache_of_another_run_is_put_aside(
        start, bucket, tmp_path, step, earlier):
    here, there = run_files("A", 8, earlier=earlier), run_files("B", step)
    assert "another run" in start(here, there)
    assert in_bucket(bucket) == there
    assert below(tmp_path / "run") == dict(
        of_checkpoints(there), **{"metrics.jsonl": b"B"})
    aside, = tmp_path.glob("run.old-*")
    assert below(aside) == here


@pytest.mark.parametrize("here, there, copied", [
    (run_files("A", 24, 28, 32), run_files("A", 4, 8, 12), {}),
    (run_files("A", 8), run_files("A", 8), {}),
    (run_files("A", 8), run_files("A", 12), run_files("A", 12)),
    (run_files("A", 8, earlier=True), run_files("A", 4, earlier=True), {}),
    (run_files("A", 8), run_files("A", 4, earlier=True), {})])
def test_a_cache_of_the_same_run_goes_on(
        start, bucket, tmp_path, here, there, copied):
    """Also where a version wrote it that named no run."""
    start(here, there)
    assert below(tmp_path / "run") == dict(here, **copied and dict(
        of_checkpoints(copied), **{"metrics.jsonl": b"A"}))
    assert of_checkpoints(here).items() <= in_bucket(bucket).items()
    assert not list(tmp_path.glob("run.old-*"))


@pytest.fixture
def first_weights(server, bucket, tmp_path):
    """Fetches them; with `files`, after these came in place of all others."""
    def act(files=None):
        for key in bucket.keys() if files else ():
            server.request("DELETE", "/{}/{}".format(bucket.name, key))
        for name, content in (files or {}).items():
            bucket.put("base/" + name, content)
        mirror.fetch_checkpoint(bucket.url + "/base", str(tmp_path))
        return below(tmp_path)
    return act


@pytest.mark.parametrize("step", [4, 6])
def test_first_weights_that_changed_are_copied_again(first_weights, step):
    """The new run has fewer steps, or as many and files as long."""
    first_weights(run_files("A", 6))
    time.sleep(1)                               # the unit of a bucket's times
    new = run_files("B", step)
    assert first_weights(new) == of_checkpoints(new)


def test_first_weights_are_copied_once(bucket, first_weights):
    first_weights(run_files("A", 6))
    before = len(bucket.requests("GET"))
    first_weights()
    assert not [path for path in bucket.requests("GET")[before:]
                if ".data-" in path]


def test_first_weights_that_were_removed_by_hand_are_copied_again(
        first_weights, tmp_path):
    files = first_weights(run_files("A", 6))
    for name in files:
        (tmp_path / name).unlink()
    assert first_weights() == files


def test_older_first_weights_stay_for_a_job_that_begins(first_weights):
    first_weights(run_files("A", 6))
    both = run_files("A", 6, 8)
    assert first_weights(both) == of_checkpoints(both)


def test_what_a_killed_fetch_left_is_removed(bucket, tmp_path):
    bucket.put("data/t10k-labels-idx1-ubyte", b"x")
    (tmp_path / "class").mkdir()
    for name in "class/a.avi.part.0a.part", "t10k-labels-idx1-ubyte.0a.part":
        (tmp_path / name).write_text("half")
    mirror.fetch_data(bucket.url + "/data", str(tmp_path))
    assert below(tmp_path) == {"t10k-labels-idx1-ubyte": b"x"}
