"""Tests a network of clips on a list of videos.

    python -m nonlocal_tf.evaluate --train_url DIR --data_url LIST

Writes to TRAIN_URL/evaluate/NAME, or to --output: videos.jsonl, a line for
each video as soon as it is done; summary.json; classes.csv; confusion.csv and
confusion.png. Interrupted, the same command goes on; given again when all is
done, it tries those that could not be read. Exit code 0: all videos were read;
1: some are missing or cannot be read, and count as wrong in the score over
all; 2: nothing could be done.

--num_gpus N shares the videos among N processes of this machine, TF_CONFIG
among those of several; each video is answered once.
"""

import contextlib
import glob
import hashlib
import json
import os
import sys

from nonlocal_tf import answers, command, processes, scores, storage
from nonlocal_tf.command import say
from nonlocal_tf.errors import UserError
from nonlocal_tf.pace import Pace
from nonlocal_tf.platforms import cluster

ALL, SOME = 0, 1
_VIDEOS = "videos.jsonl"


def main(arguments):
    """Evaluates by command-line arguments; returns the exit code."""
    def act():
        flags = parse(arguments)
        if flags.num_gpus > 1:
            return processes.run(flags.num_gpus, "evaluate", main, arguments)
        return evaluate(flags)

    return command.run("evaluate", act)


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
    parser.add_argument(
        "--num_gpus", type=int, default=1, metavar="N", help="processes, one "
        "a GPU, that share the videos (default: %(default)s)")
    flags = parser.parse(arguments)
    command.check_ranges(flags, ("view_batch", 1, 1024), ("num_gpus", 0, 64))
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
    from nonlocal_tf.platforms import peers
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
    settings = identity(found, plan, listed)
    together = peers.of_environment(settings)
    if together.rank == 0:
        for line in listed.remarks + tuple(plan.lines(found.config.protocol)):
            say(line)
    storage.make_folder(folder, "--output")
    with contextlib.ExitStack() as stack:
        if together.rank == 0:
            stack.enter_context(storage.only_run_in(folder))
        return test(trained.Network(found), plan, listed, folder, settings,
                    found.class_names or listed.class_names or found.names,
                    flags.view_batch, together)


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


def test(network, plan, listed, folder, settings, names, view_batch=1,
         together=cluster.ALONE):
    """Answers what is not answered yet, and reports; returns the exit code.

    Args:
      network, plan, view_batch: see `answers.each`.
      listed: a `lists.VideoList`, with labels.
      folder: of the results, which is there.
      settings: what they hold for: see `identity`.
      names: of the classes, by label.
      together: a `peers.Peers`, or `cluster.ALONE`; rank 0 alone reports.
    Raises:
      UserError: the folder has results of something else, not one video could
        be read, or another process is gone.
    """
    if together.rank == 0:
        records = _begin(folder, settings)
    together.gather("")                 # the folder may be the others' too
    if together.rank:
        records = _begin(folder, settings)
    records = _of_all(together, records)
    left = [number for number in range(len(listed.paths))
            if "top" not in records.get(number, {})]
    if together.rank == 0:
        say("{} videos, {} done, in {!r}. Interrupted, the same command goes "
            "on.".format(len(listed.paths), len(listed.paths) - len(left),
                         folder))
    records.update(_of_all(together, _answer(
        network, plan, listed, os.path.join(folder, _own(together.rank)),
        left[together.rank::together.size], view_batch, together)))
    ordered = [records[number] for number in range(len(listed.paths))]
    summary = scores.summary(ordered)
    if together.rank == 0:
        storage.write_text(os.path.join(folder, _VIDEOS), "".join(
            json.dumps(each) + "\n" for each in ordered))
        scores.write(folder, ordered, names, dict(settings, **summary))
        scores.show(ordered, names, summary, plan)
        say("In {!r}: {}".format(folder, ", ".join(scores.FILES)))
    together.gather("")                 # now the results are kept
    together.stop()
    for path in glob.glob(os.path.join(
            glob.escape(folder), _own("*"))) if together.rank == 0 else ():
        os.remove(path)
    if not summary["readable"]:
        raise UserError("Not one of the {} videos could be read; the first: {}"
                        .format(len(ordered), ordered[0]["error"]))
    return SOME if summary["readable"] < len(ordered) else ALL


def _own(rank):
    """The file of a process: rank 0's is that of all in the end."""
    return "videos-rank{}.jsonl".format(rank) if rank else _VIDEOS


def _of_all(together, records):
    """Records of all processes: number -> record; each is sent once."""
    numbers = [set(json.loads(text)) for text in together.gather(
        json.dumps(list(records)))]
    sent = set().union(*numbers[:together.rank])
    return {record["number"]: record for text in together.gather(json.dumps([
        record for number, record in records.items() if number not in sent]))
        for record in json.loads(text)}


def _answer(network, plan, listed, path, numbers, view_batch, together):
    """Answers videos, each kept in `path` at once; number -> record."""
    records = {}
    pace = Pace(len(numbers), "videos")
    with open(path, "a", encoding="utf-8") as file:
        for number, answer in zip(numbers, answers.each(
                network, plan, [listed.paths[number] for number in numbers],
                view_batch)):
            together.check()
            records[number] = _record(
                number, answer, int(listed.labels[number]), plan)
            file.write(json.dumps(records[number]) + "\n")
            file.flush()
            if together.rank == 0:
                pace.done(len(records), lambda: "; top-1 so far {:.2%}".format(
                    scores.summary(list(records.values()))["top1"]))
    return records


def _begin(folder, settings):
    """The records that a folder has of earlier; number -> record."""
    begun = storage.begun(os.path.join(folder, "settings.json"), settings)
    records = {}
    for path in glob.glob(os.path.join(
            glob.escape(folder), "videos*.jsonl")):
        if begun:
            records.update((record["number"], record)
                           for record in storage.whole_records(path))
        else:
            os.remove(path)
    return records


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
