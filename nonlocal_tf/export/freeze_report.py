"""What freeze_pb.py says of the file that it wrote, and what comes next."""

from nonlocal_tf.architecture import block_names
from nonlocal_tf.command import say
from nonlocal_tf.export import deploy
from nonlocal_tf.export.interface import (
    FRAMEWORKS,
    NOTE,
    OPSET,
    PROBABILITIES,
)


def say_file(path, frozen, labels, face, classes, with_probabilities):
    """What was written, and how it does on the test samples.

    Args:
      path, frozen: of the file, and its `freeze.Frozen`.
      labels: of the samples, or None.
      face: its `interface.Interface`.
      classes: their number.
      with_probabilities: whether it has that output.
    """
    from nonlocal_tf.export import score
    compared = frozen.compared
    batch = "B" if face.shape[0] is None else face.shape[0] // face.views
    say("{}: {:,} bytes, {}".format(path, frozen.size, (
        "opset {}".format(OPSET) if path.endswith(".onnx") else
        "{} nodes".format(len(frozen.graph_def.node)))))
    say("  SHA-256          {}".format(frozen.sha256))
    ends = "" if path.endswith(".onnx") else ":0"
    if face.plan:
        say("  its note         {}{}, which bins --model reads".format(
            path, NOTE))
        say("  {:16} {}, {} of {}".format(
            face.name + ends, face, face.layout, "0 to 255" if
            face.dtype == "uint8" else "x less mean, over deviation"))
        say("  {:16} {}".format("", face.plan))
        say("  {:16} float32 [{}, {}], a score for each class".format(
            face.output + ends, batch, classes))
    else:
        say("  {:16} {}, 0 to 1".format(face.name + ends, face))
        say("  {:16} int32 [{}], the class".format(
            face.output + ends, batch))
    if with_probabilities:
        say("  {:16} float32 [{}, {}]".format(
            PROBABILITIES + ends, batch, classes))
    say("  batch norms      {} folded into convolutions".format(
        frozen.folded))
    say("Read back and compared with the network: logits differ by at most\n"
        "{:.1e} (the largest is {:.3g}), classes are equal.".format(
            compared.difference, compared.largest))
    if labels is not None:
        right = int((compared.classes == labels).sum())
        score.say_rows(compared.classes, labels)
        say("accuracy {:.2%} ({} of {} test {})".format(
            right / len(labels), right, len(labels), face.unit))


def say_attention(attention, config):
    """What `health.measure` found, as the trainer says it."""
    from nonlocal_tf import health, tasks
    rows = health.summary(block_names(config.placement()), attention)
    for line in health.table(
            rows, "{} {}".format(attention.shape[1], tasks.of(config).UNIT),
            config.instantiation):
        say(line)
    for line in health.warnings(rows, config.instantiation, config.block):
        say(line)


def say_fp16(frozen, samples, face):
    """How many classes change when everything is rounded to fp16."""
    import numpy as np

    from nonlocal_tf.export import predict

    def rounded(batch):
        return batch if batch.dtype == np.uint8 else (
            batch.astype(np.float16).astype(np.float32))

    logits, classes = predict.answers(predict.rounded_to_fp16(
        frozen.graph_def), samples.inputs, face, rounded)
    count = len(classes)
    changed = int(np.sum(classes != frozen.compared.classes))
    text = "fp16: {} of {} classes change".format(changed, count)
    if samples.labels is not None:
        right = int(np.sum(classes == samples.labels))
        text += "; accuracy {:.2%} ({} of {})".format(
            right / count, right, count)
    lost = int(np.sum(~np.isfinite(logits).all(axis=1)))
    if lost:
        text += ("; {} {} overflow fp16 (65504): preflight --run BINS names "
                 "the values, and the flag of atc that helps".format(
                     lost, face.unit))
    say(text)


def say_what_is_next(path, flags, face, classes, source):
    """The lines to paste."""
    from nonlocal_tf import tasks
    outputs = [face.output] + (
        [PROBABILITIES] if flags.with_probabilities else [])
    say()
    say("Next (atc and {} run where Ascend's toolkit is):".format(
        "ais_bench" if face.plan else "msame"))
    chips = deploy.soc_versions(flags.soc_version)
    stems = [deploy.om_stem(path, chip, chips) for chip in chips]
    lines = [deploy.clip_bins_command(
        path, tasks.of(source).test_list(source), source.video_root
    ) if face.plan else
        deploy.bins_command(path, face.shape, source.dataset, source.data_url)]
    lines += [deploy.atc_command(path, face.shape, outputs, chip, face.name,
                                 FRAMEWORKS[flags.format], stem)
              for chip, stem in zip(chips, stems)]
    lines.append(deploy.ais_bench_command(path, stems[0]) if face.plan else
                 deploy.msame_command(path, face.shape, stems[0]))
    lines.append(deploy.score_command(path, labels="k400.info") if face.plan
                 else deploy.score_command(path, classes))
    for line in lines:
        say(line)
    face = face._replace(
        shape=[face.shape[0] or deploy.LARGEST_BATCH] + face.shape[1:])
    say("Each .bin must have {:,} bytes: {} {}.".format(
        face.bytes(), " x ".join(map(str, face.shape)), face.dtype))
