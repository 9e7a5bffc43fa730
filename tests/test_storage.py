"""Files that appear whole, and what is said where they cannot."""

import errno
import os
import resource

import numpy as np
import pytest
import tensorflow as tf
from support import graph_session

from nonlocal_tf import remote, storage
from nonlocal_tf.errors import UserError

tf1 = tf.compat.v1


@pytest.mark.parametrize("number, text", [
    (errno.ENOSPC, "No space left on device"),
    (errno.EDQUOT, "Disk quota exceeded"), (errno.EFBIG, "File too large")])
def test_whatever_limits_a_disk_reads_alike(number, text):
    for error in (OSError(number, text), tf.errors.InternalError(
            None, None, "Graph execution error:\n\nDetected at node 's'\n"
            "Node: 's'\n/a/b.tempstate; {}\n\t [[s]]\nHint: if".format(text))):
        assert storage.gist(error).endswith(text) and storage.is_full(error)
        with pytest.raises(UserError, match="--cache_dir is full.*" + text):
            with remote.reaching("obs://bucket/a"):
                raise error


def test_the_cause_is_shown_and_not_its_node(tmp_path):
    """By real errors of the TensorFlow that is here."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with graph_session() as session:
        tf1.get_variable("v", initializer=np.zeros(100000, np.float32))
        session.run(tf1.global_variables_initializer())
        saver = tf1.train.Saver()
        resource.setrlimit(resource.RLIMIT_FSIZE, (100000, limits[1]))
        try:
            with pytest.raises(tf.errors.OpError) as full:
                saver.save(session, str(tmp_path / "ck"))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        with pytest.raises(tf.errors.OpError) as nan:
            session.run(tf1.check_numerics(tf.constant(np.nan), "The loss"))
    assert storage.gist(full.value).endswith("; File too large")
    assert storage.gist(nan.value).startswith("The loss : Tensor had NaN")


def test_sync_has_the_bytes_of_the_very_file_written(tmp_path, monkeypatch):
    path, synced = tmp_path / "a", []
    path.write_text("a")
    monkeypatch.setattr(
        os, "fsync", lambda handle: synced.append(os.fstat(handle).st_ino))
    storage.sync(str(path))
    assert synced == [path.stat().st_ino]
