"""One page of what a run did, or of several beside each other.

    python -m nonlocal_tf.report RUN... [--output report.html]

A RUN is the folder that --train_url named. The page is one file that needs no
network: settings and which differ, curves, the blocks' attention, what the
network mistakes for what, the surest mistakes with the last block's attention,
checkpoints and what froze from them; and it says what is not there. Nothing
in a RUN is changed. Curves need matplotlib.
"""

import html
import os
import sys

from nonlocal_tf import __version__, command, storage
from nonlocal_tf.command import say
from nonlocal_tf.errors import UserError, bad
from nonlocal_tf.pages.markup import folded, line, number, table, tag

_ROWS = 200                     # of a table


def main(arguments):
    """Reports by command-line arguments; returns the exit code."""
    return command.run("report", lambda: report(parse(arguments)))


def parse(arguments):
    """The flags as a namespace."""
    parser = command.Parser.of_module("nonlocal_tf.report", __doc__)
    parser.add_argument("runs", nargs="+", metavar="RUN")
    parser.add_argument(
        "--output", default="report.html", help="file to write, .html, or a "
        "folder for report.html (default: %(default)s)")
    flags = parser.parse(arguments)
    if os.path.isdir(flags.output):
        flags.output = os.path.join(flags.output, "report.html")
    if not flags.output.endswith(".html"):
        raise bad("output", "a file that ends in .html, or a folder that is "
                  "there", repr(flags.output))
    return flags


def report(flags):
    """Writes the page; returns the exit code.

    Raises:
      UserError: a RUN is none, or matplotlib is not there.
    """
    from nonlocal_tf.pages import curves, runs
    curves.matplotlib()
    found = runs.read(flags.runs)
    import tensorflow as tf
    tf.compat.v1.logging.set_verbosity(tf.compat.v1.logging.ERROR)
    storage.make_folder(os.path.dirname(flags.output) or ".", "--output")
    title = "Report of " + ", ".join(run.name for run in found)
    body = [tag("h1", title), _overview(found), _settings(found),
            tag("h2", "Curves"), _curves(found)]
    for run in found:
        say("{}: {} epochs, {} checkpoints; the network answers, two minutes "
            "at most".format(run.folder, len(run.epochs),
                             len(run.checkpoints)))
        body.append(_run(run))
    body.append(line("Written by nonlocal_tf {}.".format(__version__)))
    path = os.path.join(os.path.dirname(curves.__file__), "report.html")
    with open(path, encoding="utf-8") as file:
        page = file.read().replace("@TITLE@", html.escape(title)).replace(
            "@BODY@", "\n".join(body))
    storage.write_text(flags.output, page)
    say("  {}  {:,} bytes".format(
        flags.output, os.path.getsize(flags.output)))
    return 0


def _overview(found):
    """A column for each run."""
    from nonlocal_tf import tasks
    from nonlocal_tf.architecture import format_placement

    def of(run):
        config, last = run.config, (run.epochs or [{}])[-1]
        tested = [each for each in run.epochs
                  if each.get("test_accuracy") is not None]
        best = max(tested, key=lambda each: each["test_accuracy"],
                   default=None)
        return [
            run.folder, "-" if config is None else "{}, {}".format(
                tasks.of(config).title(config), tasks.of(config).size(config)),
            "-" if config is None else "{}, {}".format(
                config.instantiation, format_placement(config.placement())),
            "-" if config is None or run.converted else "{}, {}".format(
                tasks.of(config).name(config), tasks.of(config).source(
                    config)),
            "epoch {} of {}, step {}".format(
                last["epoch"], run.settings.get("epoch", "?"), last["step"])
            if last else "converted from " + run.converted
            if run.converted else "no epoch on record",
            number("{:.4f}", last.get("train_loss")),
            number("{:.2%}", last.get("train_accuracy")),
            number("{:.2%}", last.get("test_accuracy")),
            "-" if best is None else "{:.2%}, epoch {}".format(
                best["test_accuracy"], best["epoch"]),
            number("{:.1f}", last.get("images_per_second")),
            run.note.get("tensorflow", "not on record"),
            run.note.get("device", "not on record")]

    names = ("folder", "network", "blocks", "data", "trained", "train loss",
             "train accuracy", "test accuracy", "best test accuracy",
             "images/s", "TensorFlow", "device")
    return table([""] + [run.name for run in found], zip(
        names, *[of(run) for run in found]), "texts") + "".join(
            line("{}: {}".format(run.name, remark))
            for run in found for remark in run.remarks)


def _settings(found):
    """What differs: between runs, or from what a single one has by default."""
    from nonlocal_tf.pages import runs
    columns = [(run.name, run.settings) for run in found]
    names, what = runs.differing(found), "Settings that differ"
    if len(found) == 1 and found[0].config:
        usual = runs.defaults(found[0].config)
        columns.append(("default", usual))
        names = [name for name in sorted(found[0].settings)
                 if usual.get(name) not in (None, "auto")
                 and found[0].settings[name] != usual[name]]
        what = "Settings that are not the default"
    every = sorted(set().union(*[run.settings for run in found]))
    head = ["setting"] + [name for name, _ in columns]

    def rows(chosen):
        return [[name] + [_value(settings, name) for _, settings in columns]
                for name in chosen]

    return tag("h2", what) + (
        table(head, rows(names), "texts") if names else line("None.")) + (
            folded("All {} settings".format(len(every)),
                   table(head, rows(every), "texts")))


def _value(settings, name):
    if name not in settings:
        return "not there"
    value = settings[name]
    return {None: "-", "": "-", True: "true", False: "false"}.get(
        value, value) if isinstance(value, (str, bool, type(None))) else value


def _figure(title, lines, reason, from_zero=False):
    """A set of axes, or why there is none."""
    from nonlocal_tf.pages import curves
    lines = [each for each in lines if len(each.steps)]
    return "<figure>{}{}</figure>".format(
        tag("figcaption", title), curves.svg(title, lines, from_zero)
        if lines else line(reason))


def _legend(names, dashed=""):
    from nonlocal_tf.pages.curves import COLOURS
    items = ['<span><i style="--colour: {}"></i>{}</span>'.format(
        COLOURS[at % len(COLOURS)], html.escape(name))
        for at, name in enumerate(names)]
    if dashed:
        items += ["<span><i></i>training</span>",
                  '<span><i class="dashed"></i>test</span>']
    return '<div class="legend">{}</div>'.format("".join(items))


def _curves(found):
    """Those of all runs, a colour for each."""
    from nonlocal_tf.pages.curves import POINTS, Line
    from nonlocal_tf.pages.runs import finite
    each = list(enumerate(found))
    loss = [Line(*finite(run.steps or run.epochs, "train_loss"), colour=at)
            for at, run in each]
    loss += [Line(*finite(run.epochs, "test_loss"), colour=at, dashed=True)
             for at, run in each]
    accuracy = [Line(*finite(run.epochs, part + "_accuracy", 100), colour=at,
                     dashed=part == "test")
                for at, run in each for part in ("train", "test")]
    rates = [Line(*_rates(run), colour=at) for at, run in each]
    speed = [Line(*finite(run.steps or run.epochs, "images_per_second"),
                  colour=at) for at, run in each]
    notes = ["{}: one epoch, so that accuracies are points.".format(run.name)
             for run in found if len(run.epochs) == 1]
    notes += ["{}: of {:,} records {} evenly spaced ones are drawn.".format(
        run.name, len(run.steps), POINTS) for run in found
        if len(run.steps) > POINTS]
    return _legend([run.name for run in found], "test") + (
        '<div class="curves">' + "".join([
            _figure("Loss by step", loss, "No loss is on record."),
            _figure("Accuracy by step, %", accuracy,
                    "No epoch is on record."),
            _figure("Learning rate by step, as the settings have it", rates,
                    "Not known before an epoch is over.", True),
            _figure("Images or clips a second by step", speed,
                    "No speed is on record.", True)]) + "</div>") + "".join(
                        map(line, notes))


def _rates(run):
    """Steps and the rates at them; the length of an epoch is a record's."""
    import numpy as np
    import tensorflow as tf

    from nonlocal_tf.training import optimizer
    whole = [each for each in run.epochs if each.get("complete")]
    if run.config is None or not whole:
        return [], []
    epoch_steps = whole[-1]["step"] // whole[-1]["epoch"]
    last = run.epochs[-1]["step"]
    steps = np.unique(np.linspace(0, last - 1, 100).astype(int))
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        step = tf.compat.v1.placeholder(tf.int64, [])
        rate = tf.convert_to_tensor(optimizer.learning_rate(
            run.config, step, run.config.epoch * epoch_steps))
        return steps + 1, [session.run(rate, {step: at}) for at in steps]


def _run(run):
    """All that is a run's own."""
    return "\n".join([
        tag("h2", run.name), tag("h3", "Attention of the blocks"),
        _attention(run), _epochs(run), _answers(run),
        tag("h3", "Checkpoints"), _checkpoints(run)])


def _attention(run):
    from nonlocal_tf.pages import runs
    from nonlocal_tf.pages.curves import Line
    parts = (("entropy", "{:.3f}"), ("query_dependence", "{:.3f}"),
             ("largest_weight", "{:.3f}"), ("largest_score", "{:.4g}"))
    last = next((each["attention"] for each in reversed(run.epochs)
                 if each.get("attention")), None)
    if not last:
        has_none = run.config and not run.config.placement()
        return line("The network has no non-local block." if has_none else
                    "Not on record: it is measured when an epoch ends.")
    blocks = [row["block"] for row in last]
    figures = []
    for name, words in (
            ("entropy", "Entropy: 0 one key, 1 all keys alike"),
            ("query_dependence", "Query dependence: 0 all queries take the "
             "same key")):
        lines = runs.attention(run, name)
        figures.append(_figure(words, [
            Line(*lines.get(block, ([], [])), colour=at)
            for at, block in enumerate(blocks)], "No finite value."))
    return _legend(blocks) + '<div class="curves">{}</div>'.format(
        "".join(figures)) + folded("After the last epoch", table(
            ["block"] + [name.replace("_", " ") for name, _ in parts],
            [[row["block"]] + [number(form, row.get(name))
                               for name, form in parts] for row in last],
            "numbers"))


def _epochs(run):
    parts = (("step", "{}"), ("train_loss", "{:.4f}"),
             ("train_accuracy", "{:.2%}"), ("test_loss", "{:.4f}"),
             ("test_accuracy", "{:.2%}"), ("images_per_second", "{:.1f}"),
             ("epoch_seconds", "{:.0f}"))
    shown = run.epochs[-_ROWS:]
    return folded("Epochs" + (
        ", the last {} of {}".format(_ROWS, len(run.epochs))
        if len(shown) < len(run.epochs) else ""), table(
            ["epoch"] + [name.replace("_", " ") for name, _ in parts],
            [[row["epoch"]] + [number(form, row.get(name))
                               for name, form in parts] for row in shown],
            "numbers")) if shown else line("No epoch is on record.")


def _answers(run):
    """Matrix, classes and mistakes, or a line that says why not."""
    import tensorflow as tf

    from nonlocal_tf import trained
    from nonlocal_tf.pages import markup, mistakes
    from nonlocal_tf.training import checkpoint_files
    head = tag("h3", "What is taken for what")
    if run.config is None or not run.checkpoints:
        return head + line("There is no checkpoint of this version to ask.")
    try:
        if run.config.network == "digits":
            found = trained.find(run.folder)
            answers, prefix = mistakes.of_images(found), found.prefix
        else:
            answers, step = mistakes.of_clips(run)
            prefix = checkpoint_files.prefix_in(
                os.path.join(run.folder, "Model"), step)
    except (UserError, tf.errors.OpError) as error:
        return head + line(_why(error))
    head += line(answers.words) + markup.matrix(answers) + markup.classes(
        answers) + tag("h3", "The surest mistakes")
    if not answers.wrong:
        return head + line("None.")
    try:
        drawn = list(mistakes.pictures(
            trained.find(run.folder, prefix), answers.wrong))
    except (UserError, tf.errors.OpError) as error:
        head += line("Without pictures: {}".format(_why(error)))
        drawn = [""] * len(answers.wrong[:mistakes.MOST])
    return head + markup.pictures(run.config, answers, drawn)


def _why(error):
    return str(error) if isinstance(error, UserError) else (
        command.stopped(error))


def _checkpoints(run):
    rows = []
    for step, note in run.checkpoints:
        progress = note.get("progress", {})
        rows.append([
            step, number("{}", progress.get("epoch") and (
                progress["epoch"] - 1)),
            number("{:.2%}", progress.get("test_accuracy")),
            note.get("tensorflow", "-")])
    return (table(["step", "epochs done", "test accuracy after them",
                   "TensorFlow"], rows, "numbers") if rows else line(
                       "There is none.")) + (
        table(["frozen file", "bytes", "of step", "input", "SHA-256",
               "its note"], run.frozen) if run.frozen else line(
                   "Nothing was frozen from it: PB_Model has no .pb, .onnx "
                   "or .om."))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
