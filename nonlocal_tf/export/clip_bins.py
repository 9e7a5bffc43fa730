"""Views of a list's videos as .bin files, with their labels in k400.info."""

import hashlib
import json
import os
import re

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
    settings = _settings(listed, face)          # of the whole list
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
        records = _begin(flags.output, settings, _parts(listed, face), face)
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


def _parts(listed, face):
    """The videos of each file."""
    size = face.shape[0] // face.views
    return [listed.paths[first:first + size]
            for first in range(0, len(listed.paths), size)]


def _begin(folder, settings, parts, face):
    """The records of files that are there and hold: number -> record.

    What else a killed or a longer run has left is removed.
    """
    results = os.path.join(folder, _RECORDS)
    records = {}
    if storage.begun(os.path.join(folder, interface.MANIFEST), settings):
        records = {record["file"]: record       # the latest of each
                   for record in storage.whole_records(results)}
    else:
        open(results, "w").close()
    records = {number: records[number] for number, names in enumerate(parts)
               if _holds(records.get(number), names, _path(folder, number),
                         face.bytes())}
    for name in os.listdir(folder):
        if name.endswith(storage.PARTIAL):
            os.unlink(os.path.join(folder, name))
    for name in os.listdir(os.path.join(folder, "input")):
        if re.match(r"^\d+\.bin$", name) and int(name[:-4]) >= len(parts):
            os.unlink(os.path.join(folder, "input", name))
    return records


def _holds(record, names, path, size):
    """Whether a file is whole and of the videos that are there now."""
    return bool(record) and os.path.exists(path) and (
        os.path.getsize(path) == size) and len(names) == len(
            record["videos"]) and all(
                "error" not in video and video["stamp"] == _stamp(name)
                for video, name in zip(record["videos"], names))


def _stamp(path):
    """Size and time of a file, to know it again; [] where there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return []
    return [status.st_size, status.st_mtime_ns]


def _path(folder, number):
    return os.path.join(folder, "input", "{}.bin".format(number))


def _make(listed, face, folder, records):
    """Writes the files without a record, in threads."""
    parts = _parts(listed, face)
    left = [number for number in range(len(parts)) if number not in records]
    storage.check_space(folder, len(left) * face.bytes(),
                        ", or take the first videos with --videos")
    say("{} videos in {} files of {:,} bytes, {} done. Interrupted, the same "
        "command goes on.".format(
            len(listed.paths), len(parts), face.bytes(), len(records)))
    counts, pace = decode.Counts(), Pace(len(left), "files")

    def make(number):
        return _file(folder, number, parts[number], face, counts)

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
                folder, len(left), face.bytes(), storage.gist(error)))
    finally:
        made.close()
        counts.save()


def _file(folder, number, names, face, counts):
    """Writes a file; returns its record."""
    each = face.bytes() * face.views // face.shape[0]   # of a video
    path = os.path.join(folder, "{}.bin".format(number))
    with storage.replacing(path) as file:       # input/ has whole ones alone
        videos = [_video(file, place * each, each, name, face, counts)
                  for place, name in enumerate(names)]
        file.truncate(face.bytes())             # filled up with zeros
    digest = storage.sha256(path)
    os.replace(path, _path(folder, number))
    return {"file": number, "sha256": digest, "videos": videos}


def _video(file, place, size, name, face, counts):
    """Writes the views of a video, or zeros; returns its record."""
    stamp = _stamp(name)
    file.seek(place)
    try:
        video = counts.video(name)
        for view in each_view(
                name, face.plan.protocol, face.plan.views, video):
            file.write(interface.prepared(view[None], face).tobytes())
    except UserError as error:
        file.seek(place)                        # some may have been read
        file.write(bytes(size))
        return {"error": str(error), "missing": not stamp}
    return {"stamp": stamp, "frames": video.count,
            "truncated": video.truncated,
            "looped": span(face.plan.views) > video.count}


def _finish(listed, face, folder, records, settings):
    """Writes labels and counts, and says them; returns the exit code."""
    ordered = [records[number] for number in sorted(records)]
    videos = [video for record in ordered for video in record["videos"]]
    bad = [video for video in videos if "error" in video]
    labels = [-1 if "error" in video else label
              for video, label in zip(videos, listed.labels.tolist())]
    counts = {name: sum(video.get(name, False) for video in videos)
              for name in ("missing", "truncated", "looped")}
    counts["unreadable"] = len(bad) - counts["missing"]
    counts.update(
        videos=len(videos), files=len(ordered),
        sha256=hashlib.sha256("".join(
            record["sha256"] for record in ordered).encode()).hexdigest())
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
    say_some([video["error"] for video in bad])
    if len(bad) == len(videos):
        raise UserError("Not one of the {} videos could be read; the first: {}"
                        .format(len(videos), videos[0]["error"]))
    if bad:
        say("Those have zeros and the label -1, which no answer has.")
    return SOME if bad else ALL
