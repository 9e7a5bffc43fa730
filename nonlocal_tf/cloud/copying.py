"""Many files from place to place, side by side."""

import concurrent.futures
import threading

from absl import logging

from nonlocal_tf.cloud.errors import MoxFileNameDuplicateException, StoppedError
from nonlocal_tf.cloud.places import missing, place, transfer
from nonlocal_tf.errors import UserError

THREADS = 16
PROGRESS_SECONDS = 5                      # between lines of the log


def copy_tree(src_url, dst_url, file_list=None, threads=THREADS,
              strict=False):
    """Copies what is in a folder, or one file, to `dst_url`.

    All names are checked before anything is written.

    Args:
      src_url: a folder, whose contents land directly under `dst_url`, or a
        file, which becomes `dst_url`.
      dst_url: made if need be; what is there is replaced file by file.
      file_list: paths relative to `src_url`; None: everything.
      threads: files at the same time.
      strict: to leave something out is an error.
    Returns:
      The `Item`s of a folder that were copied.
    Raises:
      MoxFileNotExistsException: one of `file_list` is not there.
      MoxFileNameDuplicateException: an object and a folder have one name:
        `src_url` without a slash, or, where `dst_url` is on a disk, below it.
    """
    source, target = place(src_url), place(dst_url)
    if source.is_file():
        if source.is_remote and source.is_directory():
            raise _duplicate(source.url)
        if file_list is not None:
            raise UserError("file_list needs a folder; {} is a file.".format(
                source.url))
        target.make_parent()
        _Copy([(source, target, source.stat().length)], 1).run()
        return []
    if not source.is_directory():
        logging.warning("No files to copy: %s is not there", source.url)
        return []
    items = _chosen(source, list(source.tree(strict)), file_list)
    _check_names(source, target, items)
    jobs = [(source.child(item.name), target.child(item.name), item.length)
            for item in items if not item.is_directory]
    if strict:
        _check_apart(jobs)
    _make_folders(target, items)
    if jobs:
        _Copy(jobs, threads).run()
    else:
        logging.warning("No files to copy: %s has none", source.url)
    return items


def _chosen(source, items, file_list):
    """The items of `file_list`, each once; all where it is None."""
    if file_list is None:
        return items
    known = {item.name: item for item in items}
    chosen = {}
    for name in file_list:
        parts = name.replace("\\", "/").split("/")
        name = "/".join(part for part in parts if part not in ("", "."))
        if name not in known:
            raise missing(source.url.rstrip("/") + "/" + name)
        if known[name].is_directory:
            raise UserError(
                "file_list must name files; {!r} is a folder of {}.".format(
                    name, source.url))
        chosen[name] = known[name]
    return list(chosen.values())


def _check_apart(jobs):
    """Refuses to replace what is yet to be copied."""
    sources = {(source.bucket, source.key) for source, _, _ in jobs
               if source.is_remote}
    for _, target, _ in jobs:
        if target.is_remote and (target.bucket, target.key) in sources:
            raise UserError("{} would be replaced before it is moved. Move it "
                            "elsewhere first.".format(target.url))


def _check_names(source, target, items):
    """Refuses what no disk can hold, or what would leave the folder."""
    if target.is_remote:
        for item in items:
            if "" in item.name.split("/"):            # it would lose a slash
                raise MoxFileNameDuplicateException(
                    "{}/{}: a name with // cannot be copied. Rename the "
                    "object.".format(source.url.rstrip("/"), item.name))
        return
    files, folders = set(), set()
    for item in items:
        parts = item.name.split("/")
        if any(part in ("", ".", "..") or "\0" in part for part in parts):
            raise MoxFileNameDuplicateException(
                "{}/{}: this name cannot be a file's on a disk. Rename the "
                "object.".format(source.url.rstrip("/"), item.name))
        (folders if item.is_directory else files).add(item.name)
        folders.update("/".join(parts[:depth])
                       for depth in range(1, len(parts)))
    for name in sorted(files & folders):
        raise _duplicate(source.url.rstrip("/") + "/" + name)


def _duplicate(url):
    return MoxFileNameDuplicateException(
        "{0} is an object and {0}/ a folder, so that it is unclear which is "
        "meant, and a disk cannot hold both. Rename one of them, or name {0}/ "
        "as the source; nothing was copied.".format(url))


def _make_folders(target, items):
    """Makes `target`, its folders on a disk, and its empty ones in OBS."""
    folders = {item.name for item in items if item.is_directory}
    above = {item.name.rpartition("/")[0] for item in items}
    if not target.is_remote:
        target.make_folder(parents=True)
        folders |= above - {""}
    else:
        folders -= above
    for name in sorted(folders):
        target.child(name).make_folder(parents=True)


class _Copy:
    """Files that are copied, and how far this is."""

    def __init__(self, jobs, threads):
        """jobs: (source, target, bytes) each; threads: 0 counts as 1."""
        self._jobs = jobs
        self._threads = THREADS if threads is None else max(1, threads)
        self._all_bytes = sum(length for _, _, length in jobs)
        self._bytes = self._files = 0
        self._lock, self._stop = threading.Lock(), threading.Event()

    def _moved(self, count):
        if self._stop.is_set():
            raise StoppedError("another file failed")
        if count:
            with self._lock:
                self._bytes += count

    def _copy(self, job):
        source, target, _ = job
        try:
            self._moved(0)
            transfer(source, target, self._moved)
        except BaseException:
            self._stop.set()                           # at once, not in turn
            raise
        with self._lock:
            self._files += 1

    def run(self):
        """Copies all; the first failure ends the others and is raised."""
        pool = concurrent.futures.ThreadPoolExecutor(
            min(self._threads, len(self._jobs)))
        with pool:
            futures = [pool.submit(self._copy, job) for job in self._jobs]
            waiting = set(futures)
            try:
                while waiting and not self._stop.is_set():
                    _, waiting = concurrent.futures.wait(
                        waiting, PROGRESS_SECONDS,
                        concurrent.futures.FIRST_EXCEPTION)
                    self._report("Copied", bool(waiting))
            finally:
                if waiting:
                    self._stop.set()
                for future in futures:
                    future.cancel()
        for kind in (False, True):                     # the cause goes first
            for future in futures:
                error = None if future.cancelled() else future.exception()
                if error and isinstance(error, StoppedError) == kind:
                    raise error

    def _report(self, verb, is_underway):
        if is_underway:
            logging.info(
                "%s %d of %d files, %.1f of %.1f MB", verb, self._files,
                len(self._jobs), self._bytes / 1e6, self._all_bytes / 1e6)
