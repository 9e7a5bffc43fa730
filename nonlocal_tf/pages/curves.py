"""Curves as SVG, to stand in a page: they take its font and its text's colour.

Of more than `POINTS` points evenly spaced ones are drawn.
"""

import io
import logging
import re
import sys
from typing import NamedTuple

import numpy as np

from nonlocal_tf.errors import UserError

# To be told apart, and at least 3 : 1 on white and on the page's black.
COLOURS = ("#1976c9", "#d55e00", "#009470", "#b0589a", "#8a7a00", "#7a63d8",
           "#c0392b", "#3f8fa8", "#7d7f85", "#5c8f1e")
POINTS = 400
_INK = "#010203"                # stands for the page's colour


class Line(NamedTuple):
    """A curve: steps and values, which of `COLOURS`, and how it is drawn."""

    steps: list
    values: list
    colour: int
    dashed: bool = False


def matplotlib():
    """The module.

    Raises:
      UserError: it cannot be imported.
    """
    try:
        import matplotlib.figure
    except ImportError as error:
        raise UserError(
            "Curves need matplotlib, and {0} has none ({1}). Run: {0} -m pip "
            "install matplotlib".format(sys.executable, error))
    logging.getLogger("matplotlib").setLevel(logging.WARNING)
    return matplotlib


def svg(title, lines, from_zero=False):
    """The text of an <svg> with one set of axes, over steps."""
    library = matplotlib()
    with library.rc_context({
            "svg.fonttype": "none", "svg.hashsalt": title, "font.size": 10,
            "font.family": "sans-serif", "text.color": _INK,
            "axes.edgecolor": _INK, "xtick.color": _INK, "ytick.color": _INK,
            "grid.color": _INK, "grid.alpha": 0.18, "axes.linewidth": 0.6,
            "axes.formatter.useoffset": False}):
        figure = library.figure.Figure(figsize=(4.4, 2.5))
        axes = figure.add_axes([0.12, 0.12, 0.85, 0.79])
        for line in lines:
            _plot(axes, line)
        axes.grid(True)
        axes.margins(x=0.03, y=0.08)
        axes.locator_params(axis="both", nbins=5)
        axes.ticklabel_format(axis="y", scilimits=(-2, 5))
        if from_zero:
            axes.set_ylim(0, 1.08 * max(max(line.values) for line in lines))
        for side in "top", "right":
            axes.spines[side].set_visible(False)
        return _inline(figure, title)


def _plot(axes, line):
    chosen = np.unique(np.linspace(
        0, len(line.steps) - 1, min(len(line.steps), POINTS)).astype(int))
    axes.plot(
        np.asarray(line.steps)[chosen], np.asarray(line.values)[chosen],
        color=COLOURS[line.colour % len(COLOURS)], linewidth=1.6,
        linestyle="--" if line.dashed else "-",
        marker="o" if len(chosen) < 12 else "", markersize=3)


def _inline(figure, title):
    """The figure as a part of a page: without size, and ids of nothing."""
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True,
                   metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    text = text[text.index("<svg"):]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    used = set(re.findall(r"#([\w-]+)", text))
    text = re.sub(r' id="([\w-]+)"', lambda found: found.group(
        0) if found.group(1) in used else "", text)
    text = re.sub(r"<svg[^>]*?viewBox=\"([^\"]*)\"[^>]*>", (
        r'<svg viewBox="\1" role="img" aria-label="{}">'.format(title)),
        text, count=1)
    text = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", text)
    return text.replace(_INK, "currentColor")
