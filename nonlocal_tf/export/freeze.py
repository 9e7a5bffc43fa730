"""Freezes a checkpoint for Ascend's ATC, and checks the file before it says so.

A separate inference graph is built, restored, frozen, folded and written; the
file is read back and must answer as the network does, on test images, before
it takes its place. TensorFlow is imported where it is used: --help needs none.
"""

import dataclasses
import hashlib
import os
from typing import NamedTuple

from nonlocal_tf import storage
from nonlocal_tf.architecture import block_names
from nonlocal_tf.command import Parser, check_ranges, say
from nonlocal_tf.errors import UserError
from nonlocal_tf.export import deploy

TOLERANCE = 1e-4                # largest difference of a logit that passes
_ABOUT = """Freezes a checkpoint of train_gpu.py for Ascend's ATC, and checks
the file before it says so. Without flags, the newest checkpoint under ./output
becomes output/PB_Model/model.pb."""


def parse_flags(arguments, program):
    """The flags of freeze_pb.py as a namespace."""
    parser = Parser(program, _ABOUT)
    parser.add_argument(
        "--train_url", default="./output",
        help="folder that was trained to; its newest checkpoint is taken "
        "(default: %(default)s)")
    parser.add_argument(
        "--checkpoint", default="", help="a checkpoint, such as "
        "output/Model/model.ckpt-220, in place of the newest")
    parser.add_argument(
        "--output", default="", help="the file to write (default: "
        "PB_Model/model.pb in --train_url, or beside the checkpoint's folder)")
    parser.add_argument(
        "--batchsize", "--batch_size", type=int,
        help="images a run, fixed in the graph; 0 leaves it open (default: "
        "32; of clips 1)")
    parser.add_argument(
        "--input_layout", choices=deploy.LAYOUTS, default="image",
        help="image: [B, S, S, 1] in 0..1, padded beforehand; flat: [B, 784] "
        "(of 28x28) in 0..1, padded in the graph (default: %(default)s)")
    parser.add_argument(
        "--image_size", type=int, default=0,
        help="S, in pixels (default: that of the training)")
    parser.add_argument(
        "--with_probabilities", action="store_true",
        help="a second output, probabilities:0, float32 [B, classes]")
    parser.add_argument(
        "--soc_version", default="Ascend310",
        help="the device, for the atc line (default: %(default)s)")
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
        "--dataset", default="", help="name of the data set (default: that "
        "of the training)")
    flags = parser.parse(arguments)
    if flags.batchsize is not None:
        check_ranges(flags, ("batchsize", 0, 100000))
    if flags.test_images is not None and flags.test_images < 0:
        raise UserError("--test_images must be 0 or more; got {}.".format(
            flags.test_images))
    deploy.check_soc_version(flags.soc_version)
    return flags


class Samples(NamedTuple):
    """What the file is compared on."""

    images: object                      # uint8 [N, S, S, 1]
    labels: object                      # int32 [N]; None: random images


class Frozen(NamedTuple):
    """A file that passed."""

    graph_def: object
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
    deploy.input_of(config, flags.batchsize or None, flags.input_layout)
    path = _output_path(flags, found.prefix)
    source = _source(flags, config)
    samples = _samples(flags, source, found.class_names)
    say("Freezing {}: step {}, ResNet-{}, {} pixels; compared on {} {} "
        "{}".format(
            found.prefix, found.step, config.resnet_size, config.image_size,
            len(samples.images), "random" if samples.labels is None
            else "test", task.UNIT))
    try:
        with tf.Graph().as_default(), predict.cpu_session() as session:
            graph = inference.InferenceGraph(
                config, flags.batchsize or None, flags.input_layout,
                flags.with_probabilities)
            graph.restore(session, found.prefix)
            storage.make_folder(os.path.dirname(path) or ".", "--output")
            live, attention = graph.answers(session, samples.images)
            frozen = _write(session, graph, path, samples.images, live)
        _report(path, frozen, samples, flags, config)
        if samples.labels is not None:
            _say_attention(attention, config)
        if flags.check_fp16:
            _report_fp16(frozen, samples)
    except (OSError, MemoryError, tf.errors.OpError) as error:
        raise UserError(
            "The frozen graph could not be made: {}. Free some space or "
            "memory, lower --batchsize, or name another --output.".format(
                storage.gist(error)))
    _say_what_is_next(path, flags, config, source)


def _output_path(flags, prefix):
    """The file to write."""
    if not flags.output:
        parent = flags.train_url if not flags.checkpoint else (
            os.path.normpath(os.path.join(os.path.dirname(prefix), "..")))
        return os.path.join(parent, "PB_Model", "model.pb")
    if os.path.isdir(flags.output) or flags.output.endswith("/"):
        return os.path.join(flags.output, "model.pb")
    if not flags.output.endswith(".pb"):
        raise UserError("--output must be a folder or a file that ends in "
                        ".pb; got {!r}.".format(flags.output))
    return flags.output


def _source(flags, config):
    """The settings that tell where the test images are."""
    name = flags.dataset or config.dataset
    return dataclasses.replace(
        config, dataset=name, data_url=flags.data_url or (
            config.data_url if name == config.dataset else ""))


def _samples(flags, source, class_names):
    """The test images to compare on."""
    from nonlocal_tf import tasks
    from nonlocal_tf.export.predict import IMAGES
    task = tasks.of(source)
    if flags.test_images == 0:
        return Samples(task.random_samples(source, IMAGES), None)
    try:
        images, labels = task.load_test(source, class_names)
    except UserError as error:
        raise UserError(
            "{} (For freeze_pb.py the two test files are enough; "
            "--test_images 0 does without them.)".format(error))
    # About a minute on two cores: the cost grows with the image's area.
    count = flags.test_images or max(
        IMAGES, IMAGES * 224 ** 2 // source.image_size ** 2)
    return Samples(images[:count], None if labels is None else (
        labels[:count]))


def _write(session, graph, path, images, live):
    """Writes, reads back and compares; returns a `Frozen`."""
    from nonlocal_tf.export import fold
    names = [operation.name for operation in graph.outputs]
    plain = fold.freeze(session, graph.outputs)
    folded, count = fold.fold_batch_norm(plain, names)
    with storage.replacing(path) as file:
        frozen = _write_once(file, path, folded, count, live, images)
        compared = frozen.compared
        if compared.flips or not compared.difference <= TOLERANCE:
            # The plain graph has the network's own operations.
            frozen = _write_once(file, path, plain, 0, live, images)
            _check_answers(frozen.compared, path, len(images))
        _check_for_atc(frozen.graph_def, names)
    return frozen


def _write_once(file, path, graph_def, folded, live, images):
    """Replaces the content of `file` and compares what it then holds."""
    from nonlocal_tf.export import graphdef, predict
    file.seek(0)
    file.truncate()
    file.write(graph_def.SerializeToString(deterministic=True))
    file.seek(0)
    data = file.read()
    again = graphdef.parse(data, path)
    return Frozen(again, len(data), hashlib.sha256(data).hexdigest(), folded,
                  predict.compare(again, live, images))


def _check_answers(compared, path, count):
    """What is left is the network's own sensitivity to the order of sums."""
    limit = TOLERANCE * max(1.0, compared.largest)
    if compared.flips or not compared.difference <= limit:
        raise UserError(
            "The file must answer as the network does; logits differ by {:.2g}"
            " (the largest is {:.2g}), {} of {} classes are others; {!r} is as "
            "it was. Are the weights finite? Else train anew with "
            "--block pre_norm_cosine."
            .format(compared.difference, compared.largest, compared.flips,
                    count, path))


def _check_for_atc(graph_def, names):
    """Our own file must pass our own preflight."""
    from nonlocal_tf.export.preflight import atc, checks
    for finding in checks.examine(graph_def, atc.Request(
            out_nodes=[(name, 0) for name in names], dynamic=True)):
        if finding.level == checks.REJECT:
            raise UserError("ATC would reject the graph at {!r}: {}. {}".format(
                finding.node, finding.reason, finding.remedy))


def _report(path, frozen, samples, flags, config):
    """What was written, and how it does on the test images."""
    from nonlocal_tf import tasks
    from nonlocal_tf.export import score
    name, shape = deploy.input_of(
        config, flags.batchsize or None, flags.input_layout)
    batch = shape[0] = shape[0] or "B"
    compared = frozen.compared
    say("{}: {:,} bytes, {} nodes".format(
        path, frozen.size, len(frozen.graph_def.node)))
    say("  SHA-256          {}".format(frozen.sha256))
    say("  {:16} float32 [{}], {}".format(
        name + ":0", ", ".join(map(str, shape)),
        tasks.of(config).INPUT_RANGE))
    say("  output:0         int32 [{}], the class".format(batch))
    if flags.with_probabilities:
        say("  probabilities:0  float32 [{}, {}]".format(
            batch, config.classes))
    say("  batch norms      {} folded into convolutions".format(
        frozen.folded))
    say("Read back and compared with the network: logits differ by at most\n"
        "{:.1e} (the largest is {:.3g}), classes are equal.".format(
            compared.difference, compared.largest))
    if samples.labels is not None:
        right = int((compared.classes == samples.labels).sum())
        score.say_rows(compared.classes, samples.labels)
        say("accuracy {:.2%} ({} of {} test images)".format(
            right / len(samples.labels), right, len(samples.labels)))


def _say_attention(attention, config):
    """What `health.measure` found, as the trainer says it."""
    from nonlocal_tf import health, tasks
    rows = health.summary(block_names(config.placement()), attention)
    for line in health.table(
            rows, "{} {}".format(attention.shape[1], tasks.of(config).UNIT),
            config.instantiation):
        say(line)
    for line in health.warnings(rows, config.instantiation, config.block):
        say(line)


def _report_fp16(frozen, samples):
    """How many classes change when everything is rounded to fp16."""
    import numpy as np

    from nonlocal_tf.export import predict
    logits, classes = predict.answers(
        predict.rounded_to_fp16(frozen.graph_def), samples.images,
        lambda batch: batch.astype(np.float16).astype(np.float32))
    count = len(classes)
    changed = int(np.sum(classes != frozen.compared.classes))
    text = "fp16: {} of {} classes change".format(changed, count)
    if samples.labels is not None:
        right = int(np.sum(classes == samples.labels))
        text += "; accuracy {:.2%} ({} of {})".format(
            right / count, right, count)
    lost = int(np.sum(~np.isfinite(logits).all(axis=1)))
    if lost:
        text += ("; {} images overflow fp16 (65504): compile with "
                 "--precision_mode=allow_fp32_to_fp16 or must_keep_origin_dtype"
                 .format(lost))
    say(text)


def _say_what_is_next(path, flags, config, source):
    """The lines to paste."""
    name, shape = deploy.input_of(
        config, flags.batchsize or None, flags.input_layout)
    outputs = [deploy.OUTPUT] + (
        [deploy.PROBABILITIES] if flags.with_probabilities else [])
    say()
    say("Next (atc and msame run where Ascend's toolkit is):")
    atc = deploy.atc_command(path, shape, outputs, flags.soc_version, name)
    for line in [atc] if name == deploy.CLIPS else [
            deploy.bins_command(path, shape, source.dataset, source.data_url),
            atc, deploy.msame_command(path, shape),
            deploy.score_command(path, config.classes)]:
        say(line)
    size = shape[0] or deploy.LARGEST_BATCH
    say("Each .bin must have {:,} bytes: {} float32.".format(
        deploy.bin_bytes([size] + shape[1:]),
        " x ".join(map(str, [size] + shape[1:]))))
