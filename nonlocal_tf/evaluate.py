"""Tests a network of clips on a list of videos.

    python -m nonlocal_tf.evaluate --train_url DIR --data_url LIST

Writes to TRAIN_URL/evaluate/NAME, or to --output: videos.jsonl, a line for
each video as soon as it is done; summary.json; classes.csv; confusion.csv and
confusion.png. Interrupted, the same command goes on; given again when all is
done, it tries those that could not be read. Exit code 0: all videos were read;
1: some are missing or cannot be read, and count as wrong in the score over
all; 2: nothing could be done.
"""

import hashlib
import json
import os
import sys

from nonlocal_tf import answers, command, scores, storage
from nonlocal_tf.command import say
from nonlocal_tf.errors import UserError
from nonlocal_tf.pace import Pace

ALL, SOME = 0, 1
_VIDEOS = "videos.jsonl"


def main(arguments):
    """Evaluates by command-line arguments; returns the exit code."""
    return command.run("evaluate", lambda: evaluate(parse(arguments)))


def parse(arguments):
    """The flags as a namespace."""
    parser = command.Parser.of_module("nonlocal_tf.evaluate", __doc__)
    answers.add_flags(parser)
    parser.add_argument(
        "--data_url", required=True, metavar="LIST", help="list of videos and "
        "labels, or a folder with a folder for each class")
    parser.add_argument(
        "--video_root", default="", help="folder of the paths in the list "
        "(default: the list's own)")
    parser.add_argument(
        "--output", default="", help="folder of the results (default: one in "
        "--train_url, named by list, step, protocol and views)")
    flags = parser.parse(arguments)
    command.check_ranges(flags, ("view_batch", 1, 1024))
    return flags


def evaluate(flags):
    """Evaluates as the flags say; returns the exit code.

    Raises:
      UserError: there is no network of clips, or no list; or the folder has
        results of something else, or not one video could be read.
    """
    import tensorflow as tf

    from nonlocal_tf import trained
    from nonlocal_tf.data.video import lists
    tf.compat.v1.logging.set_verbosity(tf.compat.v1.logging.ERROR)
    found = trained.find(flags.train_url, flags.checkpoint)
    if found.config.network == "digits":
        raise UserError(
            "--train_url must have a network of clips; {!r} is of the digits' "
            "network. freeze_pb.py and python -m nonlocal_tf.export.score "
            "test that one.".format(found.prefix))
    plan = answers.plan(found.config, flags.protocol, flags.views)
    listed = lists.read(flags.data_url, flags.video_root, found.class_names,
                        found.config.classes, found.config.label_start)
    lists.check_labelled(listed, flags.data_url)
    folder = flags.output or os.path.join(
        flags.train_url, "evaluate", "{}-{}-{}-{}x{}".format(
            os.path.splitext(os.path.basename(os.path.abspath(
                flags.data_url)))[0], found.step, plan.name, plan.views.clips,
            plan.views.crops))
    for line in listed.remarks + tuple(plan.lines(found.config.protocol)):
        say(line)
    storage.make_folder(folder, "--output")
    with storage.only_run_in(folder):
        return test(trained.Network(found), plan, listed, folder,
                    identity(found, plan, listed),
                    found.class_names or listed.class_names or tuple(
                        map(str, range(found.config.classes))),
                    flags.view_batch)


def identity(found, plan, listed):
    """What results hold for, by name."""
    from nonlocal_tf.data.video.opencv import decoder
    with open(found.prefix + ".index", "rb") as file:
        weights = hashlib.sha1(file.read()).hexdigest()
    return {
        "checkpoint": "step {}, {}".format(found.step, weights),
        "protocol": plan.name,
        "views": "{}x{}".format(plan.views.clips, plan.views.crops),
        "list": listed.digest(),
        "decoder": decoder()}


def test(network, plan, listed, folder, settings, names, view_batch=1):
    """Answers what is not answered yet, and reports; returns the exit code.

    Args:
      network, plan, view_batch: see `answers.each`.
      listed: a `lists.VideoList`, with labels.
      folder: of the results, which is there.
      settings: what they hold for: see `identity`.
      names: of the classes, by label.
    Raises:
      UserError: the folder has results of something else, or not one video
        could be read.
    """
    records = _begin(folder, settings)
    left = [number for number in range(len(listed.paths))
            if "top" not in records.get(number, {})]
    say("{} videos, {} done, in {!r}. Interrupted, the same command goes on."
        .format(len(listed.paths), len(listed.paths) - len(left), folder))
    pace = Pace(len(left), "videos")
    with open(os.path.join(folder, _VIDEOS), "a", encoding="utf-8") as file:
        for count, answer in enumerate(answers.each(network, plan, [
                listed.paths[number] for number in left], view_batch), 1):
            number = left[count - 1]
            records[number] = _record(
                number, answer, int(listed.labels[number]), plan)
            file.write(json.dumps(records[number]) + "\n")
            file.flush()
            pace.done(count, lambda: "; top-1 so far {:.2%}".format(
                scores.summary(list(records.values()))["top1"]))
    ordered = [records[number] for number in range(len(listed.paths))]
    summary = scores.summary(ordered)
    scores.write(folder, ordered, names, dict(settings, **summary))
    scores.show(ordered, names, summary, plan)
    say("In {!r}: {}".format(folder, ", ".join(scores.FILES)))
    if not summary["readable"]:
        raise UserError("Not one of the {} videos could be read; the first: {}"
                        .format(len(ordered), ordered[0]["error"]))
    return SOME if summary["readable"] < len(ordered) else ALL


def _begin(folder, settings):
    """The records that a folder has of earlier; number -> record."""
    results = os.path.join(folder, _VIDEOS)
    if not storage.begun(os.path.join(folder, "settings.json"), settings):
        open(results, "w").close()
        return {}
    return {record["number"]: record
            for record in storage.whole_records(results)}


def _record(number, answer, label, plan):
    """What videos.jsonl has of one."""
    found = {"number": number, "path": answer.path, "label": label}
    if answer.error:
        return dict(found, error=answer.error,
                    missing=not os.path.exists(answer.path))
    window, = answer.windows
    return dict(
        found, top=[{"class": int(index), "probability": float(
            window.probabilities[index])} for index in
            answers.best(window.probabilities, scores.TOP)],
        first=int(answers.best(window.alone, 1)[0]),
        frames=answer.video.count, truncated=answer.video.truncated,
        looped=answers.is_looped(plan, answer.windows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
