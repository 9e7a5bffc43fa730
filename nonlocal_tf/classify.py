"""Classifies clips or pictures with a trained network.

    python -m nonlocal_tf.classify CLIP.npy... --train_url DIR
    python -m nonlocal_tf.classify SEVEN.png t10k-images-idx3-ubyte:7

Of a network of clips each file is an array, uint8 [T, H, W, 3], red, green,
blue, taken as it is: the frames are not chosen and not resized. Frames larger
than those of the training are taken too; where the protocol is fully
convolutional, at several places. Of the digits' network each is a PNG, or a
number of an IDX file. Exit code 0: all were answered; 1: some could not be
read, and are named; 2: nothing could be done.
"""

import json
import os
import sys

from nonlocal_tf import command, storage
from nonlocal_tf.command import say
from nonlocal_tf.errors import UserError

ALL, SOME = 0, 1


def main(arguments):
    """Classifies by command-line arguments; returns the exit code."""
    return command.run("classify", lambda: classify(parse(arguments)))


def parse(arguments):
    """The flags as a namespace."""
    parser = command.Parser.of_module("nonlocal_tf.classify", __doc__)
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument(
        "--train_url", default="./output", help="folder that was trained, or "
        "converted, to (default: %(default)s)")
    parser.add_argument(
        "--checkpoint", default="", help="a checkpoint, in place of the "
        "newest in --train_url")
    parser.add_argument(
        "--top", type=int, default=5, help="classes that are named "
        "(default: %(default)s)")
    parser.add_argument(
        "--json", default="", metavar="OUT", help="write all probabilities "
        "there too")
    parser.add_argument(
        "--invert", action="store_true", help="pictures are black on white")
    flags = parser.parse(arguments)
    if flags.top < 1:
        raise UserError("--top must be 1 or more; got {}.".format(flags.top))
    return flags


def classify(flags):
    """Prints, and writes, what each file is; returns the exit code.

    Raises:
      UserError: there is no network, or not one file could be read.
    """
    import tensorflow as tf

    from nonlocal_tf import tasks, trained
    tf.compat.v1.logging.set_verbosity(tf.compat.v1.logging.ERROR)
    found = trained.find(flags.train_url, flags.checkpoint)
    names = found.class_names
    network = trained.Network(found)
    answers, failures = [], []
    for file in flags.files:
        try:
            batch = tasks.of(found.config).read(file, found.config, flags)
        except UserError as error:
            failures.append(str(error))
            answers.append({"file": file, "error": str(error)})
            if len(flags.files) > 1:
                sys.stderr.write("classify: {}\n".format(error))
            continue
        answers.append(_answer(file, network(batch)[0], names, flags.top))
        _say(answers[-1], batch.shape[1:])
    if len(failures) == len(flags.files):
        raise UserError(failures[0] if len(failures) == 1 else
                        "None of the files could be read.")
    if flags.json:
        storage.make_folder(os.path.dirname(flags.json) or ".", "--json")
        storage.write_text(flags.json, json.dumps(answers, indent=1))
    return SOME if failures else ALL


def _answer(file, probabilities, names, top):
    """What the JSON file has of one."""
    order = probabilities.argsort(kind="mergesort")[::-1][:top]
    return {"file": file, "probabilities": [
        float(each) for each in probabilities], "top": [{
            "class": int(index),
            "name": names[index] if names else str(index),
            "probability": float(probabilities[index])} for index in order]}


def _say(answer, shape):
    say("{}  ({})".format(answer["file"], " x ".join(map(str, shape))))
    for row in answer["top"]:
        say("  {:6.2%}  {:>4}  {}".format(
            row["probability"], row["class"], row["name"]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
