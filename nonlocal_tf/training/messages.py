"""What a run says of itself, in words: the console's lines and its errors."""

import tensorflow as tf

from nonlocal_tf import health, storage, tasks
from nonlocal_tf.architecture import format_placement
from nonlocal_tf.errors import UserError
from nonlocal_tf.pace import duration

GIB = 2.0 ** 30
_WAITING = 0.1                  # share of the time, beyond which to say so
_MAY_CHANGE = ("epoch", "learning_rate", "lr_schedule", "lr_steps",
               "warmup_epochs", "weight_decay", "clip_norm", "dropout",
               "label_smoothing", "recipe", "micro_batch", "plain",
               "affinity_mb", "threads", "batch_size", "sync_batch_norm",
               "gradient_precision")


def introduction(config, parameters, platform, data, epoch_steps):
    """The first lines: network, size and device; data and steps; recipe."""
    task = tasks.of(config)
    lines = [
        "{} with non-local blocks after {}: {:,} parameters; {}; TensorFlow "
        "{} on {}".format(
            task.title(config), format_placement(config.placement()),
            parameters, task.size(config), tf.__version__,
            platform.describe()),
        "{}: {:,} training and {:,} test {} in {}; epochs: {}, each "
        "{} steps of {} {}".format(
            task.name(config), len(data.train_labels), len(data.test_labels),
            task.UNIT, task.source(config), config.epoch, epoch_steps,
            config.batch_size, task.UNIT) + (
                " in each of {} processes".format(platform.size)
                if platform.size > 1 else "")]
    if config.recipe:
        row = config.training()
        lines.append(
            "Recipe {}: {}, rate {:.4g} (published: {:g} for {} clips), {}{}; "
            "weight decay {:g} of {}, gradients' norm up to {}, dropout {:g}"
            .format(config.recipe, config.optimizer, config.learning_rate,
                    row.learning_rate, row.batch_size, config.lr_schedule,
                    (" at " + config.lr_steps) * (config.lr_schedule == "step")
                    + " after {:g} epochs of warm-up".format(
                        config.warmup_epochs) * bool(config.warmup_epochs),
                    config.weight_decay, " and ".join(row.decays),
                    config.clip_norm or "any", config.dropout))
    return lines


def estimate(config, memory, free, epoch_seconds, seconds):
    """What the run is thought to need: bytes if known, and seconds."""
    size, parts = config.part_size(), ""
    if size < config.batch_size:
        parts = ", {} of {} {} at a time".format(
            size, config.batch_size, tasks.of(config).UNIT)
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
               if name in _MAY_CHANGE
               and before.get(name, value) != value
               and (name, value) != ("affinity_mb", -1)]    # the default
    return "Going on from {}, epoch {}{}".format(
        prefix, epoch, "; changed: " + ", ".join(changed) if changed else "")


def init_is_not_read(config):
    """A run that goes on has its weights."""
    return ("--init {!r} is not read: the run in {!r} goes on. Give another "
            "--train_url to begin from it.".format(
                config.init, config.train_url))


def nothing_to_do(prefix, step, last_step, accuracy):
    """The run was whole before it began."""
    return ("{} has done {} steps, {} were asked for{}: nothing is left to "
            "do. Raise --epoch or --max_steps, or give another --train_url."
            .format(prefix, step, last_step, "" if accuracy is None else
                    ", test accuracy {:.2%}".format(accuracy)))


def step(progress, config, epoch_steps, steps_left, ranks, loss):
    """Where the run is within its epoch."""
    rate = progress.images_per_second()
    waits = progress.waiting()
    return "epoch {}/{}  step {}/{}  loss {:.4f}{}{}".format(
        progress.epoch, config.epoch, progress.steps, epoch_steps, loss,
        rate and "  {} left  {:.1f} {}/s".format(
            duration(steps_left * config.batch_size * ranks / rate),
            rate, tasks.of(config).UNIT) or "",
        "  {:.0%} waiting for data".format(waits) if waits >= 0.01 else "")


def tested(result, progress, config, attention):
    """The lines below an epoch's: its test, and what is to be mended."""
    rate, unit = progress.images_per_second(), tasks.of(config).UNIT
    missing = result.images - result.read
    lines = ["  test accuracy {:.2%} ({} of {} unseen {}{}){}".format(
        result.accuracy(), result.correct, result.images, unit,
        "; {} cannot be read and count as wrong".format(missing)
        if missing else "",
        rate and "; trained at {:.1f} {}/second".format(rate, unit) or "")]
    if progress.waiting() >= _WAITING:
        lines.append(
            "  {:.0%} of the epoch's time went into waiting for data. {}"
            .format(progress.waiting(), tasks.of(config).waiting(config)))
    return lines + health.warnings(
        attention, config.instantiation, config.block)


def ending(step_number, total_steps, progress, config, by_signal, attention,
           data):
    """The end of a run, whole or not, and its blocks."""
    task = tasks.of(config)
    if step_number == total_steps and not by_signal:
        line = "Finished epoch {}, step {}; test accuracy {:.2%}".format(
            config.epoch, step_number, progress.test_accuracy)
    else:
        line = "Stopped {} after step {} of {}; the same command{} goes on.{}"
        line = line.format(
            "by a signal" if by_signal else "by --max_steps", step_number,
            total_steps, "" if by_signal else " with more --max_steps",
            " Tests follow whole epochs only." if progress.steps else "")
    return [line] + health.table(attention, "{} {}".format(
        min(health.SAMPLES, len(data.test_labels)), task.UNIT),
        config.instantiation) + list(task.remarks(config, data))


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
            "A step must fit into memory; {} {} of {} pixels at a time do "
            "not. Lower --micro_batch, --batchsize or --image_size.".format(
                config.batch_size if config.micro_batch == "auto"
                else config.micro_batch, tasks.of(config).UNIT,
                config.image_size))
    return UserError(
        "TensorFlow stopped with {}: {} Give the same command again to go on "
        "from the newest checkpoint.".format(
            type(error).__name__, storage.gist(error)))
