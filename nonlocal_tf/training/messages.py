"""What a run says of itself, in words: the console's lines and its errors."""

import tensorflow as tf

from nonlocal_tf import storage
from nonlocal_tf.architecture import format_placement
from nonlocal_tf.errors import UserError

GIB = 2.0 ** 30


def introduction(config, parameters, platform, data, epoch_steps):
    """The first lines: network, size and device; data and steps."""
    return [
        "ResNet-{} with non-local blocks after {}: {:,} parameters; {} "
        "pixels; TensorFlow {} on {}".format(
            config.resnet_size, format_placement(config.placement()),
            parameters, config.image_size, tf.__version__,
            platform.describe()),
        "{}: {:,} training and {:,} test images in {}; epochs: {}, each "
        "{} steps of {} images".format(
            config.dataset, len(data.train_labels), len(data.test_labels),
            config.data_folder(), config.epoch, epoch_steps,
            config.batch_size) + (
                " in each of {} processes".format(platform.size)
                if platform.size > 1 else "")]


def estimate(config, memory, free, epoch_seconds, seconds):
    """What the run is thought to need: bytes if known, and seconds."""
    size, parts = config.part_size(), ""
    if size < config.batch_size:
        parts = ", {} of {} images at a time".format(size, config.batch_size)
    bytes_ = memory and "{:.1f} GiB of memory{} ({:.1f} GiB free); ".format(
        memory / GIB, parts, free / GIB)
    return "Estimate: {}{} an epoch, {} in all".format(
        bytes_ or "", duration(epoch_seconds), duration(seconds))


def first_step(seconds, peak):
    """After the first step; `peak` is the most memory in bytes, or None."""
    return "First step: {:.1f} s, TensorFlow's start included{}".format(
        seconds, "; at most {:.1f} GiB of memory so far".format(peak / GIB)
        if peak else "")


def going_on(prefix, epoch, now, before):
    """After a resume; `now` and `before` are the settings of both runs."""
    changed = ["{} {} (was {})".format(name, value, before[name])
               for name, value in sorted(now.items())
               if name in ("epoch", "learning_rate", "lr_schedule",
                           "micro_batch", "plain", "affinity_mb", "threads")
               and before.get(name, value) != value
               and (name, value) != ("affinity_mb", -1)]    # the default
    return "Going on from {}, epoch {}{}".format(
        prefix, epoch, "; changed: " + ", ".join(changed) if changed else "")


def nothing_to_do(prefix, step, last_step, accuracy):
    """The run was whole before it began."""
    return ("{} has done {} steps, {} were asked for{}: nothing is left to "
            "do. Raise --epoch or --max_steps, or give another --train_url."
            .format(prefix, step, last_step, "" if accuracy is None else
                    ", test accuracy {:.2%}".format(accuracy)))


def step(progress, config, epoch_steps, steps_left, ranks, loss):
    """Where the run is within its epoch."""
    rate = progress.images_per_second()
    return "epoch {}/{}  step {}/{}  loss {:.4f}{}".format(
        progress.epoch, config.epoch, progress.steps, epoch_steps, loss,
        rate and "  {} left  {:.1f} images/s".format(
            duration(steps_left * config.batch_size * ranks / rate),
            rate) or "")


def tested(result, rate):
    """The line below an epoch's."""
    return "  test accuracy {:.2%} ({} of {} unseen images){}".format(
        result.accuracy(), result.correct, result.images,
        rate and "; trained at {:.1f} images/second".format(rate) or "")


def ending(step_number, total_steps, progress, epoch, by_signal):
    """The end of a run, whole or not."""
    if step_number == total_steps and not by_signal:
        return "Finished epoch {}, step {}; test accuracy {:.2%}".format(
            epoch, step_number, progress.test_accuracy)
    line = "Stopped {} after step {} of {}; the same command{} goes on.{}"
    return line.format(
        "by a signal" if by_signal else "by --max_steps", step_number,
        total_steps, "" if by_signal else " with more --max_steps",
        " Tests follow whole epochs only." if progress.steps else "")


def duration(seconds):
    """Seconds as "45 s", "12 min", "3 h 05 min" or "2.5 days"."""
    if seconds < 100:
        return "{:.0f} s".format(seconds)
    minutes = int(round(seconds / 60))
    if minutes < 100:
        return "{} min".format(minutes)
    if minutes >= 48 * 60:
        return "{:.1f} days".format(minutes / (24 * 60))
    return "{} h {:02d} min".format(minutes // 60, minutes % 60)


def bad_loss(loss, step_number, epoch, config, folder):
    """The loss is no number."""
    return UserError(
        "The loss must be finite; it is {} at step {} of epoch {}. "
        "Lower --learning_rate (now {}) and give another --train_url, "
        "or go on from a checkpoint in {}.".format(
            loss, step_number, epoch, config.learning_rate, folder))


def bad_weights(step_number, config, folder):
    """A weight is no number."""
    return UserError(
        "The weights must be finite; they are not after step {}. Lower "
        "--learning_rate (now {}) and give another --train_url; the "
        "checkpoints in {} are of before.".format(
            step_number, config.learning_rate, folder))


def not_saved(step_number, folder, error):
    """A checkpoint could not be written."""
    return UserError(
        "The checkpoint of step {} could not be written to {!r} ({}). "
        "Free some space and give the same command again; the earlier "
        "checkpoints are whole.".format(
            step_number, folder, storage.gist(error)))


def refused(error, config):
    """One line for what the system or TensorFlow refused."""
    if isinstance(error, OSError) or storage.is_full(error):
        return UserError(
            "Cannot write to --train_url {!r}: {}. Free some space or name "
            "another folder; the files there are whole.".format(
                config.train_url, storage.gist(error)))
    if isinstance(error, (MemoryError, tf.errors.ResourceExhaustedError)):
        return UserError(
            "A step must fit into memory; {} images of {} pixels at a time do "
            "not. Lower --micro_batch, --batchsize or --image_size.".format(
                config.batch_size if config.micro_batch == "auto"
                else config.micro_batch, config.image_size))
    return UserError(
        "TensorFlow stopped with {}: {} Give the same command again to go on "
        "from the newest checkpoint.".format(
            type(error).__name__, storage.gist(error)))
