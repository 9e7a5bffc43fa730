"""Views of a list's videos as .bin files, with their labels in k400.info."""

import hashlib
import json
import os

import numpy as np

from nonlocal_tf import storage
from nonlocal_tf.command import say, say_some
from nonlocal_tf.data.ahead import ahead
from nonlocal_tf.data.video import decode, lists
from nonlocal_tf.data.video.indices import span
from nonlocal_tf.data.video.opencv import decoder, opencv
from nonlocal_tf.data.video.views import each_view
from nonlocal_tf.errors import UserError
from nonlocal_tf.export import interface
from nonlocal_tf.pace import Pace
from nonlocal_tf.platforms import machine

ALL, SOME = 0, 1                # exit codes: see bins.py
INFO, _RECORDS = "k400.info", "files.jsonl"


def write(flags, config, face, names=()):
    """Writes what is not there yet; returns the exit code.

    Args:
      flags: the namespace of bins.py.
      config, face: of the network, and its `interface.Interface`.
      names: of its classes, if known.
    Raises:
      UserError: the list cannot be read, --output has files of something
        else, or there is no room.
    """
    opencv().setNumThreads(1)           # videos are decoded in threads
    listed = lists.read(flags.data_url, flags.video_root, names,
                        config.classes, config.label_start)
    lists.check_labelled(listed, flags.data_url)
    if flags.images:
        listed = listed._replace(paths=listed.paths[:flags.images],
                                 labels=listed.labels[:flags.images])
    for line in listed.remarks + tuple(face.plan.lines(config.protocol)):
        say(line)
    folder = os.path.join(flags.output, "input")
    storage.make_folder(folder, "--output")
    if os.listdir(folder) and not os.path.exists(
            os.path.join(flags.output, interface.MANIFEST)):
        raise UserError(
            "{!r} must have files of one run alone, since msame reads all "
            "that is there; it has {}. Name another --output.".format(
                folder, sorted(os.listdir(folder))[0]))
    with storage.only_run_in(flags.output):
        settings = _settings(listed, face)
        records = _begin(flags.output, settings)
        _make(listed, face, flags.output, records)
        return _finish(listed, face, flags.output, records, settings)


def _settings(listed, face):
    """What the files hold for, by name."""
    plan, row = face.plan, face.plan.protocol
    return {
        "protocol": plan.name, "views": plan.views._asdict(),
        "mean": row.mean, "deviation": row.deviation,
        "size_rule": row.size_rule, "interpolation": row.interpolation,
        "layout": face.layout, "dtype": face.dtype, "shape": face.shape,
        "list": listed.digest(), "decoder": decoder()}


def _begin(folder, settings):
    """The records of files that are there and whole: number -> record."""
    results = os.path.join(folder, _RECORDS)
    if not storage.begun(os.path.join(folder, interface.MANIFEST), settings):
        open(results, "w").close()
        return {}
    each = interface.bin_bytes(
        settings["shape"], np.dtype(settings["dtype"]).itemsize)
    return {record["file"]: record for record in storage.whole_records(results)
            if not any("error" in video for video in record["videos"])
            and _size(_path(folder, record["file"])) == each}


def _path(folder, number):
    return os.path.join(folder, "input", "{}.bin".format(number))


def _size(path):
    return os.path.getsize(path) if os.path.exists(path) else -1


def _make(listed, face, folder, records):
    """Writes the files without a record, in threads."""
    size = face.shape[0] // face.views
    left = [number for number in range(-(-len(listed.paths) // size))
            if number not in records]
    bytes_each = interface.bin_bytes(
        face.shape, np.dtype(face.dtype).itemsize)
    storage.check_space(folder, len(left) * bytes_each)
    say("{} videos in {} files of {:,} bytes, {} done. Interrupted, the same "
        "command goes on.".format(
            len(listed.paths), len(left) + len(records), bytes_each,
            len(records)))
    counts, pace = decode.Counts(), Pace(len(left), "files")

    def make(number):
        return _file(_path(folder, number), number, listed, face, counts)

    made = ahead(make, left, machine.cores(), machine.cores())
    try:
        with open(os.path.join(folder, _RECORDS), "a") as file:
            for done, record in enumerate(made, 1):
                records[record["file"]] = record
                file.write(json.dumps(record) + "\n")
                file.flush()
                pace.done(done)
    except OSError as error:
        raise UserError(
            "--output {!r} must take {} files of {:,} bytes; {}. Free some "
            "space; the same command goes on.".format(
                folder, len(left), bytes_each, storage.gist(error)))
    finally:
        made.close()
        counts.save()


def _file(path, number, listed, face, counts):
    """Writes a file; returns its record."""
    size, digest = face.shape[0] // face.views, hashlib.sha256()
    names = listed.paths[number * size:(number + 1) * size]
    nothing = bytes(interface.bin_bytes(
        face.shape[1:], np.dtype(face.dtype).itemsize))
    videos = []
    with storage.replacing(path) as file:
        for name in names + ("",) * (size - len(names)):
            views = []
            if name:
                views, record = _views(name, face, counts)
                videos.append(record)
            for view in views or [None] * face.views:
                data = nothing if view is None else (
                    interface.prepared(view[None], face).tobytes())
                file.write(data)
                digest.update(data)
    return {"file": number, "sha256": digest.hexdigest(), "videos": videos}


def _views(name, face, counts):
    """The uint8 views of a video, [] if it cannot be read, and its record."""
    try:
        video = counts.video(name)
        views = list(each_view(
            name, face.plan.protocol, face.plan.views, video))
        return views, {"frames": video.count, "truncated": video.truncated,
                       "looped": span(face.plan.views) > video.count}
    except UserError as error:
        return [], {"error": str(error)}


def _finish(listed, face, folder, records, settings):
    """Writes labels and counts, and says them; returns the exit code."""
    ordered = [records[number] for number in sorted(records)]
    videos = [video for record in ordered for video in record["videos"]]
    bad = [index for index, video in enumerate(videos) if "error" in video]
    labels = [-1 if "error" in video else label
              for video, label in zip(videos, listed.labels.tolist())]
    counts = dict(
        {"videos": len(videos), "files": len(ordered),
         "missing": sum(not os.path.exists(listed.paths[index])
                        for index in bad)},
        **{name: sum(video.get(name, False) for video in videos)
           for name in ("truncated", "looped")})
    counts["unreadable"] = len(bad) - counts["missing"]
    counts["sha256"] = hashlib.sha256("".join(
        record["sha256"] for record in ordered).encode("ascii")).hexdigest()
    storage.write_text(os.path.join(folder, INFO), "".join(
        "{} {}\n".format(*pair) for pair in enumerate(labels)))
    storage.write_text(os.path.join(folder, interface.MANIFEST), json.dumps(
        dict(settings, **counts), indent=1) + "\n")
    rest = len(ordered) * face.shape[0] // face.views - len(videos)
    say("{}: {} files, {} {}".format(
        os.path.join(folder, "input"), len(ordered), face.layout, face))
    if rest:
        say("{}.bin is filled up by {} of zeros".format(
            len(ordered) - 1, rest))
    say("{}: {} labels; {}".format(
        os.path.join(folder, INFO), len(labels), ", ".join(
            "{} {}".format(counts[name], name) for name in (
                "missing", "unreadable", "truncated", "looped"))))
    say_some([videos[index]["error"] for index in bad])
    if len(bad) == len(videos):
        raise UserError("Not one of the {} videos could be read; the first: {}"
                        .format(len(videos), videos[0]["error"]))
    if bad:
        say("Those have zeros and the label -1, which no answer has.")
    return SOME if bad else ALL
