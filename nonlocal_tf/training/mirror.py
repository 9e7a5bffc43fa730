"""The folders of a job in OBS, and their copies on the local disk."""

import contextlib
import glob
import json
import os
import re
import shutil
import tempfile
import zlib

from nonlocal_tf import remote, storage
from nonlocal_tf.command import say
from nonlocal_tf.data.datasets import FILES
from nonlocal_tf.errors import UserError
from nonlocal_tf.training.checkpoint_files import (
    ENDINGS,
    KEEP,
    index_first,
    name_of,
    step_of,
    steps_among,
)

_STEADY = ("Model", "PB_Model")         # their files never change
_MANIFEST = ".source.json"
_FETCHED = ".fetched"                   # here is all that a start needs
_PUSHED = ".pushed"                     # a checkpoint has been pushed


def copy_folder(cache, kind, url):
    """The local folder for a remote one: one name for one URL."""
    path = url.split("://", 1)[1].strip("/")
    return os.path.join(cache, kind, "{}-{:08x}".format(
        re.sub(r"\W+", "_", path.rpartition("/")[2]),
        zlib.crc32(path.encode("utf-8"))))


def _as_folder(url):
    """With one slash at the end: an object may have the same name."""
    return url.rstrip("/") + "/"


@contextlib.contextmanager
def locked(folder):
    """A folder of copies, made if need be, for one process at a time."""
    storage.make_folder(folder, "--cache_dir")
    # A file's lock holds among hosts on NFS; the folder's keeps out a download.
    with storage.locked(os.path.join(folder, ".lock")), storage.locked(folder):
        for path in glob.glob(os.path.join(
                glob.escape(folder), "**", "*" + storage.PARTIAL),
                recursive=True):
            if os.path.isfile(path):            # of a process that was killed
                os.remove(path)
        yield


def fetch_data(url, folder, required=True):
    """Copies the IDX files of a remote folder that are not here yet.

    Several processes of one machine may call this at once: the first copies.

    Args:
      url: obs:// or s3://, with or without a slash at its end.
      folder: a local one.
      required: whether there must be any.
    Raises:
      UserError: it cannot be read, or has none of the files.
    """
    url = _as_folder(url)
    cloud = remote.cloud()
    with locked(folder), remote.reaching(url):
        found = _idx_files(cloud, url, required)
        if found:
            _refresh(cloud, url, folder, found,
                     _idx_names(os.listdir(folder)))


def _refresh(cloud, url, folder, names, old):
    """Copies files in place of `old`, unless they are as at the last copy.

    In their order: a checkpoint's .index is the last.
    """
    stats = [cloud.stat(remote.join(url, name)) for name in names]
    found = {name: [stat.length, stat.mtime_nsec]
             for name, stat in zip(names, stats)}
    manifest = os.path.join(folder, _MANIFEST)
    if found == _read_json(manifest) and not [
            name for name, (length, _) in found.items()
            if _size_here(folder, name) != length]:
        return
    say("Copying {} from {} to {}".format(
        ", ".join(sorted(found)), url, folder))
    storage.write_text(manifest, "{}")          # until all is here
    for name in old:
        os.remove(os.path.join(folder, name))
    for name in names:                          # copy_parallel lists all
        cloud.copy(remote.join(url, name), os.path.join(folder, name))
    _check_sizes(cloud, url, folder, found)
    storage.write_text(manifest, json.dumps(found))


def _names(cloud, url):
    """What is in a remote folder; nothing where there is none."""
    if not cloud.exists(url):
        return []
    return [name.rstrip("/") for name in cloud.list_directory(url)]


def _idx_names(names):
    return [name for name in names
            if name in FILES or name[:-3] in FILES and name.endswith(".gz")]


def _idx_files(cloud, url, required):
    """The names of the IDX files of a remote folder."""
    names = _names(cloud, url)
    found = _idx_names(names)
    if not found and required:
        raise UserError(
            "--data_url {} must hold the IDX files ({}, plain or .gz); it has "
            "{}. Upload them there, or name their folder.".format(
                url, ", ".join(FILES), ", ".join(sorted(names)[:10])
                or "nothing"))
    return found


def _read_json(path):
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError):
        return None


def _size_here(folder, name):
    path = os.path.join(folder, name)
    return os.path.getsize(path) if os.path.exists(path) else "no"


def _check_sizes(cloud, url, folder, names):
    """After a copy, either way: the same bytes at both ends."""
    for name in names:
        there = cloud.stat(remote.join(url, name)).length
        here = _size_here(folder, name)
        if here != there:
            raise UserError(
                "A copy must have all bytes; {} has {}, and {!r} {}. Start "
                "the job again.".format(
                    remote.join(url, name), there,
                    os.path.join(folder, name), here))


def fetch_checkpoint(url, folder):
    """Copies the newest checkpoint of a remote run, as a run's, for --init.

    It is the newest here then, and copied only where it is not here yet.

    Raises:
      UserError: there is none.
    """
    models = remote.join(url, "Model/")
    cloud, target = remote.cloud(), os.path.join(folder, "Model")
    with locked(target), remote.reaching(url):
        steps = steps_among(_names(cloud, models))
        if not steps:
            raise UserError("--init must be the folder of a run with a "
                            "checkpoint in Model/; {} has none.".format(url))
        # What is older may be another job's that begins just now.
        _refresh(cloud, models, target, _names_of(steps[-1]),
                 [name for name in os.listdir(target)
                  if (step_of(name) or 0) >= steps[-1]])


def _names_of(step):
    return [name_of(step) + ending for ending in ENDINGS]


class Results:
    """The results of a run, pushed to a remote folder.

    Args:
      url: obs:// or s3://, with or without a slash at its end.
      folder: the local folder that is pushed there.
    """

    def __init__(self, url, folder):
        self.url = _as_folder(url)
        self.folder = folder
        self._cloud = remote.cloud()
        self._pushed = {}                       # name -> (bytes, time)

    def fetch(self):
        """Brings the newest checkpoint here, unless a newer one is here.

        What is here of another run, or was pushed and removed, is put aside.
        Until it has, only logs are pushed: what is here may be older.
        """
        self._mark(_FETCHED, False)
        with remote.reaching(self.url):
            self._check_writable()
            models = remote.join(self.url, "Model/")
            names = _names(self._cloud, models)
            steps = steps_among(names)
            here = steps_among(self._local_names("Model"))
            if here and not steps and self._is_marked(_PUSHED):
                self._put_aside("no checkpoints any more: starting anew")
            elif here and steps and self._is_of_another_run(
                    models, steps[-1], here[-1]):
                self._put_aside("checkpoints of another run: going on with it")
                here = []
            if steps and (not here or steps[-1] > here[-1]):
                self._fetch_file("metrics.jsonl")       # the checkpoint's
                self._fetch_step(models, steps[-1])
            self._skip_what_is_there(models, names)
        self._mark(_FETCHED, True)

    def _is_marked(self, name):
        return os.path.exists(os.path.join(self.folder, name))

    def _mark(self, name, is_so):
        """A fact that outlives this process, as an empty file."""
        path = os.path.join(self.folder, name)
        if is_so:
            storage.write_text(path, "")
        elif os.path.exists(path):
            os.remove(path)

    def _check_writable(self):
        """A job that cannot leave its results need not begin."""
        self._cloud.make_dirs(self.url)
        probe = remote.join(self.url, ".writable")
        self._cloud.write(probe, "x")
        self._cloud.remove(probe)

    def _local_names(self, part):
        path = os.path.join(self.folder, part)
        return os.listdir(path) if os.path.isdir(path) else []

    def _is_of_another_run(self, models, there, here):
        """By the run's name in the notes of two checkpoints.

        Earlier versions gave none. Where the bucket's has one, what is here
        without is older, or of another run.
        """
        note = remote.join(models, name_of(there) + ".json")
        try:
            there = json.loads(self._cloud.read(note)) if (
                self._cloud.exists(note)) else {}
        except ValueError:              # damaged: resuming from it says so
            there = {}
        here = _read_json(os.path.join(
            self.folder, "Model", name_of(here) + ".json")) or {}
        return "run" in there and there["run"] != here.get("run")

    def _put_aside(self, why):
        """Results that are not those of the remote folder."""
        aside = tempfile.mkdtemp(
            prefix=os.path.basename(self.folder) + ".old-",
            dir=os.path.dirname(self.folder))
        for name in os.listdir(self.folder):
            if name not in (".lock", "log"):            # of this very run
                os.rename(os.path.join(self.folder, name),
                          os.path.join(aside, name))
        say("{} has {}; what was here is in {}".format(self.url, why, aside))

    def _fetch_step(self, models, step):
        say("Copying the checkpoint of step {} from {}".format(step, models))
        target = os.path.join(self.folder, "Model")
        os.makedirs(target, exist_ok=True)
        names = _names_of(step)
        with tempfile.TemporaryDirectory(
                prefix=".fetch-", dir=self.folder) as partial:
            self._cloud.copy_parallel(
                models, partial, file_list=names, is_processing=False)
            _check_sizes(self._cloud, models, partial, names)
            for name in names:              # .index is the last
                os.replace(os.path.join(partial, name),
                           os.path.join(target, name))

    def _fetch_file(self, name):
        url = remote.join(self.url, name)
        if self._cloud.exists(url):
            self._cloud.copy(url, os.path.join(self.folder, name))

    def _skip_what_is_there(self, models, names):
        """A checkpoint that is at both ends is not pushed again."""
        for name, state in self._changed().items():
            folder, name = os.path.split(name)
            if folder == "Model" and step_of(name) is not None and (
                    name in names and state[0] == self._cloud.stat(
                        remote.join(models, name)).length):
                self._pushed[os.path.join(folder, name)] = state

    def push(self):
        """Copies what is new or changed to the remote folder.

        A checkpoint counts there as here: by its .index, which goes last.

        Raises:
          UserError: it cannot be written; what is there is whole.
        """
        with remote.reaching(self.url):
            changed = self._changed()
            if not self._is_marked(_FETCHED):
                self._copy_growing([name for name in changed
                                    if name.startswith("log/")], changed)
                return
            steady = [name for name in changed
                      if name.startswith(_STEADY)
                      and not name.endswith(".index")]
            self._copy(self.folder, steady, changed)
            self._copy_growing([name for name in changed
                                if not name.startswith(_STEADY)], changed)
            last = [name for name in changed if name.endswith(".index")]
            self._copy(self.folder, last, changed)
            if last:
                self._mark(_PUSHED, True)
            self._prune()

    def _changed(self):
        """Files to push: name -> (bytes, time of change)."""
        changed = {}
        for path, folders, names in os.walk(self.folder):
            folders[:] = [each for each in folders if each[0] != "."]
            for name in names:
                full = os.path.join(path, name)
                name = os.path.relpath(full, self.folder)
                if name[0] == "." or name.endswith(storage.PARTIAL):
                    continue
                stat = os.stat(full)
                state = stat.st_size, stat.st_mtime_ns
                if self._pushed.get(name) != state:
                    changed[name] = state
        return changed

    def _copy(self, folder, names, states):
        if not names:
            return
        # Threads: a process that runs TensorFlow does not survive a fork.
        self._cloud.copy_parallel(
            folder, self.url, file_list=sorted(names), is_processing=False)
        _check_sizes(self._cloud, self.url, folder, names)
        self._pushed.update((name, states[name]) for name in names)

    def _copy_growing(self, names, states):
        """Copies files that grow meanwhile, as they are at this moment."""
        with tempfile.TemporaryDirectory(
                dir=os.path.dirname(self.folder)) as still:
            for name in names:
                target = os.path.join(still, name)
                os.makedirs(os.path.dirname(target), exist_ok=True)
                shutil.copyfile(os.path.join(self.folder, name), target)
            self._copy(still, names, states)

    def _prune(self):
        """Removes all but the newest checkpoints, as is done here."""
        models = remote.join(self.url, "Model/")
        names = _names(self._cloud, models)
        kept = steps_among(names)[-KEEP:]
        for name in index_first(names):
            step = step_of(name)
            if kept and step is not None and step < kept[0]:
                self._cloud.remove(remote.join(models, name))
                self._pushed.pop(os.path.join("Model", name), None)
