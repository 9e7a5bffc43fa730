"""Freezes a checkpoint for Ascend's ATC, and checks the file before it says so.

A separate inference graph is built, restored, frozen, folded and written; the
file is read back and must answer as the network does, on test images, before
it takes its place. TensorFlow is imported where it is used: --help needs none.
"""

import dataclasses
import functools
import hashlib
import json
import os
from typing import NamedTuple

from nonlocal_tf import command, storage
from nonlocal_tf.command import Parser, check_ranges, say
from nonlocal_tf.errors import UserError
from nonlocal_tf.export import deploy, freeze_report, interface

TOLERANCE = 1e-4                # largest difference of a logit that passes
_ABOUT = """Freezes a checkpoint of train_gpu.py for Ascend's ATC, and checks
the file before it says so. Without flags, the newest checkpoint under ./output
becomes output/PB_Model/model.pb; of clips model.pb.json tells what it takes."""


def main(arguments, program="nonlocal-tf freeze"):
    """Freezes by command-line arguments; returns the exit code."""
    def act():
        freeze(parse_flags(arguments, program))
        return 0

    return command.run(program, act)


def parse_flags(arguments, program):
    """The flags of freeze_pb.py as a namespace."""
    parser = Parser(program, _ABOUT)
    parser.add_run()
    parser.add_argument(
        "--output", default="", help="the file to write (default: "
        "PB_Model/model.pb in --train_url, or beside the checkpoint's folder)")
    parser.add_argument(
        "--format", choices=tuple(interface.FRAMEWORKS), help="onnx: by "
        "tf2onnx, opset 11, for atc --framework=5 (default: by the ending of "
        "--output, else pb)")
    parser.add_argument(
        "--batchsize", "--batch_size", type=int,
        help="images a run, fixed in the graph; 0 leaves it open (default: "
        "32); or videos (default: 1)")
    interface.add_flags(parser)
    parser.add_argument(
        "--image_size", type=int, default=0,
        help="S, in pixels; images get zeros around them, and are not resized "
        "(default: that of the training)")
    parser.add_argument(
        "--with_probabilities", action="store_true",
        help="a second output, probabilities:0, float32 [B, classes]")
    parser.add_argument(
        "--soc_version", default="Ascend310",
        help="the device, for the atc line; several with commas between "
        "(default: %(default)s)")
    parser.add_argument(
        "--check_fp16", action="store_true",
        help="also run the file with weights and results rounded to fp16, "
        "ATC's default, and say how many classes change")
    parser.add_argument(
        "--test_images", type=int, default=None,
        help="compare on that many test images; 0: on random images, without "
        "an accuracy (default: 32 at 224 pixels, more at fewer)")
    parser.add_argument(
        "--data_url", "--data_path", default="",
        help="folder with the test images (default: that of the training)")
    parser.add_argument(
        "--video_root", default="", help="folder of the paths in a list of "
        "videos (default: that of the training; with --data_url the list's "
        "own)")
    parser.add_argument(
        "--dataset", default="", help="name of the data set (default: that "
        "of the training)")
    flags = parser.parse(arguments)
    flags.format = flags.format or (
        "onnx" if flags.output.endswith(".onnx") else "pb")
    if flags.batchsize is not None:
        check_ranges(flags, ("batchsize", 0, 100000))
    if flags.test_images is not None and flags.test_images < 0:
        raise UserError("--test_images must be 0 or more; got {}.".format(
            flags.test_images))
    deploy.soc_versions(flags.soc_version)
    return flags


class Samples(NamedTuple):
    """What the file is compared on."""

    inputs: object                      # uint8, see `predict.batches_of`
    labels: object                      # int32 [N]; None: noise


class Frozen(NamedTuple):
    """A file that passed."""

    graph_def: object                   # that it holds, or was converted from
    size: int                           # bytes
    sha256: str
    folded: int                         # batch norms that are gone
    compared: object                    # a `predict.Comparison`


def freeze(flags):
    """Writes the file and says how it does and what is next.

    Raises:
      UserError: one line; no file is written or changed.
    """
    import tensorflow as tf

    from nonlocal_tf import tasks, trained
    from nonlocal_tf.export import inference, predict
    tf.compat.v1.logging.set_verbosity(tf.compat.v1.logging.ERROR)
    found = trained.find(flags.train_url, flags.checkpoint, flags.image_size)
    config = found.config
    task = tasks.of(config)
    if flags.batchsize is None:
        flags.batchsize = task.BATCH
    face = interface.of(config, flags.batchsize or None, flags.input_layout,
                        flags.input, flags.views)
    path = _output_path(flags, found.prefix)
    source = _source(flags, config, task)
    samples = _samples(flags, source, found.class_names, face)
    count = len(samples.inputs) // face.views
    say("Freezing {}: step {}, ResNet-{}, {} pixels; compared on {} {} "
        "{}".format(
            found.prefix, found.step, config.resnet_size, config.image_size,
            count, "random" if samples.labels is None else "test", face.unit))
    try:
        with tf.Graph().as_default(), predict.cpu_session() as session:
            graph = inference.InferenceGraph(
                config, face, flags.with_probabilities)
            trained.restore(session, graph.variables, found.prefix)
            storage.make_folder(os.path.dirname(path) or ".", "--output")
            live, attention = graph.answers(session, samples.inputs)
            frozen = _write(session, graph, path, flags.format,
                            samples.inputs, live)
        if face.plan:                   # digits' .bin files need none
            _note(path, frozen, found, flags, face)
        freeze_report.say_file(path, frozen, samples.labels, face,
                               live.shape[1], flags.with_probabilities)
        if samples.labels is not None:
            freeze_report.say_attention(attention, config)
        if flags.check_fp16:
            freeze_report.say_fp16(frozen, samples, face)
    except (OSError, MemoryError, tf.errors.OpError) as error:
        raise UserError(
            "The frozen graph could not be made: {}. Free some space or "
            "memory, lower --batchsize, or name another --output.".format(
                storage.gist(error)))
    freeze_report.say_what_is_next(path, flags, face, live.shape[1], source)


def _output_path(flags, prefix):
    """The file to write."""
    kind = flags.format
    if not flags.output:
        parent = flags.train_url if not flags.checkpoint else (
            os.path.normpath(os.path.join(os.path.dirname(prefix), "..")))
        return os.path.join(parent, "PB_Model", "model." + kind)
    if os.path.isdir(flags.output) or flags.output.endswith("/"):
        return os.path.join(flags.output, "model." + kind)
    if not flags.output.endswith("." + kind):
        raise UserError("--output must be a folder or a file that ends in "
                        ".{}; got {!r}.".format(kind, flags.output))
    return flags.output


def _source(flags, config, task):
    """The settings that tell where the test samples are."""
    name = flags.dataset or config.dataset
    return dataclasses.replace(config, dataset=name, video_root=(
        flags.video_root or ("" if flags.data_url else config.video_root)), **{
        task.TEST: flags.data_url or (
            getattr(config, task.TEST) if name == config.dataset else "")})


def _samples(flags, source, class_names, face):
    """The test samples to compare on."""
    from nonlocal_tf import tasks
    from nonlocal_tf.export import predict
    task = tasks.of(source)
    count = flags.test_images or task.samples(source, face.plan)
    found = None
    if flags.test_images != 0:
        try:
            found = task.load_test(source, class_names, count, face.plan)
        except UserError as error:
            raise UserError(
                "{} (For freeze_pb.py the test's files are enough; "
                "--test_images 0 does without them.)".format(error))
    return Samples(*found) if found else Samples(task.random_samples(
        source, 2 if face.plan else predict.IMAGES, face.plan), None)


def _write(session, graph, path, kind, samples, live):
    """Writes, reads back and compares; returns a `Frozen`."""
    from nonlocal_tf.export import fold
    names = [operation.name for operation in graph.outputs]
    plain = fold.freeze(session, graph.outputs)
    folded, count = fold.fold_batch_norm(plain, names)
    with storage.replacing(path) as file:
        write = functools.partial(
            _write_once, file, path, kind, names, graph.face, samples, live)
        frozen = write(folded, count)
        compared = frozen.compared
        if compared.flips or not compared.difference <= TOLERANCE:
            # The plain graph has the network's own operations.
            frozen = write(plain, 0)
            _check_answers(frozen.compared, path)
        _check_for_atc(frozen.graph_def, names)
    return frozen


def _write_once(file, path, kind, names, face, samples, live, graph_def,
                folded):
    """Replaces the content of `file` and compares what it then holds."""
    from nonlocal_tf.export import graphdef, onnx_file, predict
    file.seek(0)
    file.truncate()
    file.write(onnx_file.serialised(graph_def, names) if kind == "onnx"
               else graph_def.SerializeToString(deterministic=True))
    file.seek(0)
    data = file.read()
    if kind == "onnx":
        found = onnx_file.answers(data, samples, face)
    else:
        graph_def = graphdef.parse(data, path)
        found = predict.answers(graph_def, samples, face)
    return Frozen(graph_def, len(data), hashlib.sha256(data).hexdigest(),
                  folded, predict.compare(found, live))


def _check_answers(compared, path):
    """What is left is the network's own sensitivity to the order of sums."""
    limit = TOLERANCE * max(1.0, compared.largest)
    if compared.flips or not compared.difference <= limit:
        raise UserError(
            "The file must answer as the network does; logits differ by {:.2g}"
            " (the largest is {:.2g}), {} of {} classes are others; {!r} is as "
            "it was. Are the weights finite? Else train anew with "
            "--block pre_norm_cosine."
            .format(compared.difference, compared.largest, compared.flips,
                    len(compared.classes), path))


def _check_for_atc(graph_def, names):
    """Our own file must pass our own preflight."""
    from nonlocal_tf.export.preflight import atc, checks
    for finding in checks.examine(graph_def, atc.Request(
            out_nodes=[(name, 0) for name in names], dynamic=True)):
        if finding.level == checks.REJECT:
            raise UserError("ATC would reject the graph at {!r}: {}. {}".format(
                finding.node, finding.reason, finding.remedy))


def _note(path, frozen, found, flags, face):
    """Writes what the file is of and takes, for `export.bins`."""
    storage.write_text(path + interface.NOTE, json.dumps({
        "sha256": frozen.sha256, "step": found.step,
        "class_names": list(found.class_names),
        "input": [flags.batchsize, face.layout, flags.input, flags.views],
        "layout": face.layout, "dtype": face.dtype, "shape": face.shape,
        "config": found.config.as_dict()}, indent=1) + "\n")
