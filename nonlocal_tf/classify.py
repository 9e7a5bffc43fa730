"""Classifies videos, clips or pictures with a trained network.

    python -m nonlocal_tf.classify VIDEO_OR_FOLDER... --train_url DIR
    python -m nonlocal_tf.classify CLIP.npy... --train_url DIR
    python -m nonlocal_tf.classify SEVEN.png t10k-images-idx3-ubyte:7

Of a network of clips each file is a video, of which the views are taken that
the network's protocol has, and their probabilities averaged; or a folder, of
which all videos and clips are taken; or an array, uint8 [T, H, W, 3], red,
green, blue, taken as it is: the frames are not chosen and not resized. Frames
larger than those of the training are taken too; where the protocol is fully
convolutional, at several places. Of the digits' network each is a PNG, or a
number of an IDX file. Exit code 0: all were answered; 1: some could not be
read, and are named; 2: nothing could be done.
"""

import contextlib
import json
import os
import sys

import numpy as np
from absl import logging

from nonlocal_tf import answers, command, scores, storage
from nonlocal_tf.command import say
from nonlocal_tf.data.video.formats import ENDINGS
from nonlocal_tf.errors import UserError

ALL, SOME = 0, 1
_CLIPS = (".npy", ".npz")               # arrays, of which .npz is refused
_OF_ONE = ("save_inputs", "annotate")   # flags for a single video
_OF_VIDEOS = ("protocol", "views", "window", "explain") + _OF_ONE


def main(arguments):
    """Classifies by command-line arguments; returns the exit code."""
    return command.run("classify", lambda: classify(parse(arguments)))


def parse(arguments):
    """The flags as a namespace."""
    parser = command.Parser.of_module("nonlocal_tf.classify", __doc__)
    parser.add_argument("files", nargs="+", metavar="FILE_OR_FOLDER")
    answers.add_flags(parser)
    parser.add_argument(
        "--top", type=int, default=5, help="classes that are named "
        "(default: %(default)s)")
    parser.add_argument(
        "--window", type=float, default=0, metavar="SECONDS", help="answers "
        "each so many seconds of a video as if they were all, and shows a "
        "time line")
    parser.add_argument(
        "--json", default="", metavar="OUT", help="write all probabilities "
        "there too")
    parser.add_argument(
        "--csv", default="", metavar="OUT", help="write the best classes "
        "there too")
    parser.add_argument(
        "--save_inputs", default="", metavar="X.npy", help="write the views "
        "of the one video, uint8 [views, T, S, S, 3]")
    parser.add_argument(
        "--annotate", default="", metavar="OUT.mp4", help="write the one "
        "video with its best class, by --window, in its frames")
    parser.add_argument(
        "--explain", action="store_true", help="show each step of the "
        "preprocessing")
    parser.add_argument(
        "--invert", action="store_true", help="pictures are black on white")
    flags = parser.parse(arguments)
    command.check_ranges(flags, ("top", 1, 10 ** 6), ("view_batch", 1, 1024))
    if not (flags.window == 0 or 0.01 <= flags.window <= 1e6):
        raise UserError("--window must be 0.01 seconds to 1e6; got {}.".format(
            flags.window))
    if flags.window and (flags.explain or flags.save_inputs):
        raise UserError("--explain and --save_inputs show the views of a whole "
                        "video. Leave --window out.")
    if flags.annotate and not flags.annotate.endswith(".mp4"):
        raise UserError("--annotate must name a .mp4 file; got {!r}.".format(
            flags.annotate))
    return flags


def classify(flags):
    """Prints, and writes, what each file is; returns the exit code.

    Raises:
      UserError: there is no network, or not one file could be read.
    """
    import tensorflow as tf

    from nonlocal_tf import trained
    tf.compat.v1.logging.set_verbosity(tf.compat.v1.logging.ERROR)
    found = trained.find(flags.train_url, flags.checkpoint)
    names = found.names
    if found.config.network == "digits":
        files, plan = flags.files, None
        for name in _OF_VIDEOS:
            if getattr(flags, name):
                raise UserError(
                    "--{} is for networks of clips; {!r} is of the digits' "
                    "network. Leave it out.".format(name, found.prefix))
    else:
        files = list(_expanded(flags.files))
        plan = answers.plan(found.config, flags.protocol, flags.views)
    _check_outputs(flags, files)
    results = list(_answers(files, found, plan, flags, names))
    failures = [each["error"] for each in results if "error" in each]
    if flags.json:
        storage.write_text(flags.json, json.dumps(results, indent=1))
    if flags.csv:
        storage.write_text(flags.csv, _table(results))
    if len(failures) == len(files):
        raise UserError(failures[0] if len(failures) == 1 else
                        "None of the files could be read.")
    return SOME if failures else ALL


def _is_video(file):
    return not file.lower().endswith(_CLIPS)


def _expanded(files):
    """The files, and in place of folders the videos and clips in them."""
    for file in files:
        if not os.path.isdir(file):
            yield file
            continue
        inside = sorted(os.path.join(place, name) for place, _, found in
                        os.walk(file) for name in found if name[0] != ".")
        kept = [name for name in inside if name.lower().endswith(
            ENDINGS + _CLIPS[:1])]
        others = sorted(set(inside) - set(kept))
        if others:
            logging.warning("Left out, of other endings: %d in %r, such as %r",
                            len(others), file, others[0])
        if not kept:
            raise UserError(
                "{!r} must have videos ({}) or clips (.npy); it has none. "
                "Name their folder.".format(file, ", ".join(ENDINGS)))
        yield from kept


def _check_outputs(flags, files):
    """Refuses before any work what could not be written after it."""
    for name in ("json", "csv") + _OF_ONE:
        path = getattr(flags, name)
        if not path:
            continue
        storage.make_folder(os.path.dirname(path) or ".", "--" + name)
        if os.path.isdir(path) or any(
                os.path.realpath(path) == os.path.realpath(file)
                for file in files):
            raise UserError("--{} must name a file to write; {!r} is {}."
                            .format(name, path, "a folder" if os.path.isdir(
                                path) else "what is to be classified"))
        if name in _OF_ONE and not (len(files) == 1 and _is_video(files[0])):
            raise UserError("--{} is for one video; got {}.".format(
                name, "{} files".format(len(files)) if len(files) > 1 else
                repr(files[0])))


def _answers(files, found, plan, flags, names):
    """Yields what the JSON file has of each, and says it."""
    from nonlocal_tf import tasks, trained
    network = trained.Network(found)
    videos = [file for file in files if plan and _is_video(file)]
    if videos:
        for line in plan.lines(found.config.protocol):
            say(line)
    with contextlib.closing(answers.each(
            network, plan, videos, flags.view_batch, flags.window)) as stream:
        for file in files:
            # What the network raises holds for all files, and stops.
            answer = next(stream) if plan and _is_video(file) else None
            try:
                if answer:
                    yield _of_video(answer, plan, flags, names)
                    continue
                batch = tasks.of(found.config).read(file, found.config, flags)
            except UserError as error:
                yield {"file": file, "error": str(error)}
                if len(files) > 1:
                    sys.stderr.write("classify: {}\n".format(error))
                continue
            say("{}  ({})".format(file, " x ".join(map(str, batch.shape[1:]))))
            yield dict(file=file, **_best(
                network(batch)[0], names, flags.top))


def _of_video(answer, plan, flags, names):
    """What the JSON file has of a video; says and writes it."""
    from nonlocal_tf.data.video import views
    from nonlocal_tf.data.video.opencv import decoder
    if answer.error:
        raise UserError(answer.error)
    video, windows = answer.video, answer.windows
    count = sum(window.views for window in windows)
    looped = answers.is_looped(plan, windows)
    say("{}  ({}; {} view{}{}{})".format(
        answer.path, video, count, "s" * (count > 1),
        ", {} windows".format(len(windows)) if flags.window else "",
        "; shorter than a clip spans, so that frames come again" * looped))
    if flags.explain:
        for line in views.explain(plan.protocol, plan.views, video):
            say("    " + line)
    result = dict(
        file=answer.path, frames=video.count, fps=video.fps, views=count,
        protocol=str(plan), decoder=decoder(), looped=looped,
        truncated=video.truncated,
        **_best(answer.probabilities, names, flags.top))
    if flags.window:
        result["windows"] = [dict(
            start=window.first / video.fps, end=window.end / video.fps,
            top=_top(window.probabilities, names, flags.top))
            for window in windows]
        _say_time_line(result["windows"])
    if flags.save_inputs:
        with storage.replacing(flags.save_inputs) as file:
            np.save(file, views.test_views(
                answer.path, plan.protocol, plan.views, video))
    if flags.annotate:
        _annotate(answer, flags.annotate, names)
    return result


def _annotate(answer, target, names):
    """Writes the video with each window's best class."""
    from nonlocal_tf.data.video.annotate import annotate
    texts = []
    for window in answer.windows:
        best, = _top(window.probabilities, names, 1)
        name = best["name"] if all(
            " " <= sign <= "~" for sign in best["name"]) else (
            "class {}".format(best["class"]))
        texts += ["{} {:.0%}".format(name, best["probability"])] * (
            window.end - window.first)
    annotate(answer.path, target, answer.video, texts)


def _best(shares, names, top):
    """All probabilities and the best classes, which are said."""
    found = _top(shares, names, top)
    for row in found:
        say("  {:6.2%}  {:>4}  {}".format(
            row["probability"], row["class"], row["name"]))
    return {"probabilities": [float(each) for each in shares], "top": found}


def _top(shares, names, top):
    return [{"class": int(index), "name": names[index] if names else str(
        index), "probability": float(shares[index])}
        for index in answers.best(shares, top)]


def _say_time_line(windows):
    """A line for each run of windows with the same best class."""
    runs = []                           # windows that are shown as one
    for window in windows:
        if runs and runs[-1][0]["top"][0]["class"] == (
                window["top"][0]["class"]):
            runs[-1].append(window)
        else:
            runs.append([window])
    for run in runs:
        say("  {} - {}  {:6.2%}  {}".format(
            _clock(run[0]["start"]), _clock(run[-1]["end"]), np.mean([
                each["top"][0]["probability"] for each in run]),
            run[0]["top"][0]["name"]))


def _clock(seconds):
    minutes, rest = divmod(round(seconds, 1), 60)
    return "{:3d}:{:04.1f}".format(int(minutes), rest)


def _table(results):
    """CSV: the best classes of each file, and of its windows in seconds."""
    rows = [["file", "start", "end", "rank", "class", "name", "probability",
             "error"]]
    for result in results:
        name = os.fsencode(result["file"]).decode("utf-8", "replace")
        if "error" in result:
            rows.append([name] + [""] * 6 + [result["error"]])
        for part in [result] + result.get("windows", []):
            for rank, row in enumerate(part.get("top", ()), 1):
                rows.append([
                    name, part.get("start", ""), part.get("end", ""), rank,
                    row["class"], row["name"], row["probability"], ""])
    return scores.csv_text(rows)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
