"""Lists in OBS and the videos that they name, copied here for a job."""

import os
import shutil

from nonlocal_tf import remote, storage
from nonlocal_tf.command import say
from nonlocal_tf.data.ahead import ahead
from nonlocal_tf.data.video import formats
from nonlocal_tf.errors import UserError
from nonlocal_tf.pace import Pace
from nonlocal_tf.training import mirror

_THREADS = 16
_WEIGHED = 200                  # videos whose size is asked for, at most
_BESIDE = "classInd.txt"                # UCF-101's lists want it


def local_settings(config, cache):
    """Setting -> local path, of what is remote of a config's videos.

    Videos lie beside their list, or below the copy of --video_root.
    """
    local = {}
    for name in ("data_url", "test_url"):
        url = getattr(config, name)
        if storage.is_remote(url):
            parent, _, file = url.rstrip("/").rpartition("/")
            local[name] = os.path.join(
                mirror.copy_folder(cache, "lists", parent), file)
    if storage.is_remote(config.video_root):
        local["video_root"] = mirror.copy_folder(
            cache, "videos", config.video_root)
    return local


def fetch(remotely, locally):
    """Copies lists, and the videos that they name and that are not here.

    A video that is not there either is left to the training, which counts it.
    Several processes of one machine may call this at once: the first copies.

    Args:
      remotely, locally: a `TrainConfig` as it was given, and with
        `local_settings`.
    Raises:
      UserError: something cannot be read, or is no list.
    """
    for name in ("data_url", "test_url"):
        url, path = getattr(remotely, name), getattr(locally, name)
        root = remotely.video_root
        if not storage.is_remote(url):
            if storage.is_remote(root) and url:
                _fetch_videos(path, root, locally.video_root)
            continue
        folder = os.path.dirname(path)
        with mirror.locked(folder), remote.reaching(url):
            _fetch_list(url, path)
        if not root:
            _fetch_videos(path, url.rpartition("/")[0], folder)
        elif storage.is_remote(root):
            _fetch_videos(path, root, locally.video_root)


def _fetch_list(url, path):
    cloud, (parent, _, _) = remote.cloud(), url.rpartition("/")
    if not cloud.exists(url) or cloud.is_directory(url):
        raise UserError(
            "{} must be a list of videos, which a job copies with what it "
            "names; {}. Upload one, a line PATH LABEL a video.".format(
                url, "it is a folder" if cloud.exists(url) else
                "it is not there"))
    beside = remote.join(parent, _BESIDE)
    for source, target in ((url, path), (beside, os.path.join(
            os.path.dirname(path), _BESIDE))):
        if source == url or cloud.exists(source):
            cloud.copy(source, target + storage.PARTIAL)
            os.replace(target + storage.PARTIAL, target)


def _fetch_videos(path, url, folder):
    """What the list at `path` names, from `url` to `folder`."""
    storage.make_folder(folder, "--cache_dir")
    names = [name for name in formats.read(path, folder).paths
             if not os.path.isabs(name)]
    outside = [name for name in names
               if os.path.normpath(name).startswith("..")]
    if outside:
        raise UserError("{!r} must name videos below {}; {!r} is not."
                        .format(path, url, outside[0]))
    with mirror.locked(folder), remote.reaching(url):
        wanted = [name for name in dict.fromkeys(names)
                  if not os.path.exists(os.path.join(folder, name))]
        if wanted:
            _check_room(wanted, url, folder)
            say("Copying {} of {} videos from {} to {}".format(
                len(wanted), len(names), url, folder))
            missing = _copy_all(wanted, url, folder)
            if missing:
                say("{} of them are not there, such as {}".format(
                    len(missing), missing[0]))


def _check_room(names, url, folder):
    """Refuses what the disk cannot take, by the mean size of some of them."""
    cloud = remote.cloud()

    def size(name):
        source = remote.join(url, name)
        return cloud.stat(source).length if cloud.exists(source) else 0

    some = names[::len(names) // _WEIGHED + 1]
    wanted = sum(ahead(size, some, _THREADS, len(some))) * (
        len(names) / len(some))
    free = shutil.disk_usage(folder).free
    if 0.9 * wanted > free:             # an estimate refuses no near thing
        raise UserError(
            "The disk of --cache_dir must take about {:.3g} GB of videos from "
            "{}; {!r} has {:.3g} GB free. Name a folder on a larger disk, or "
            "a list of fewer.".format(wanted / 1e9, url, folder, free / 1e9))


def _copy_all(names, url, folder):
    """Copies files, each by rename; returns those that are not there."""
    cloud, missing = remote.cloud(), []

    def copy(name):
        source, target = remote.join(url, name), os.path.join(folder, name)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        try:
            cloud.copy(source, target + storage.PARTIAL)
        except Exception:               # moxing's have no common class
            if cloud.exists(source):
                raise
            missing.append(name)
            return
        os.replace(target + storage.PARTIAL, target)

    pace = Pace(len(names), "videos")
    for done, _ in enumerate(ahead(copy, names, _THREADS, 4 * _THREADS), 1):
        pace.done(done)
    return missing
