"""Parts of report.html as text: lines, tables, a matrix, pictures."""

import base64
import html

from nonlocal_tf.architecture import block_names

_MATRIX = 40                    # classes of a matrix that is drawn


def tag(name, text):
    """An element with a text."""
    return "<{0}>{1}</{0}>".format(name, html.escape(str(text)))


def line(text):
    """A paragraph that stays in the background."""
    return '<p class="soft">{}</p>'.format(html.escape(text))


def table(head, rows, kind="", caption=""):
    """Cells as text; a first column of names."""
    lines = ['<div class="wide"><table class="{}">'.format(kind)]
    if caption:
        lines.append(tag("caption", caption))
    lines.append("<thead><tr>{}</tr></thead><tbody>".format("".join(
        '<th scope="col">{}</th>'.format(html.escape(str(cell)))
        for cell in head)))
    for first, *cells in rows:
        lines.append('<tr><th scope="row">{}</th>{}</tr>'.format(
            html.escape(str(first)), "".join(
                tag("td", cell) for cell in cells)))
    return "\n".join(lines + ["</tbody></table></div>"])


def folded(summary, content):
    """Content that is opened by a click."""
    return "<details>{}{}</details>".format(tag("summary", summary), content)


def number(form, value):
    """A number, or what stands for none."""
    return "-" if value is None else form.format(value)


def matrix(answers):
    """Of `mistakes.Answers`: a cell is shaded by its share of the row."""
    names, counts = answers.names, answers.counts
    if len(names) > _MATRIX:
        return line("The matrix of {} classes is not drawn; what is mistaken "
                     "most is in the table.".format(len(names)))
    lines = ['<div class="wide"><table class="matrix"><caption>Row: label; '
             'column: answer</caption><thead><tr><th></th>'
             + "".join('<th scope="col" title="{}">{}</th>'.format(
                 html.escape(name), at) for at, name in enumerate(names))
             + "</tr></thead><tbody>"]
    for label, row in enumerate(counts):
        lines.append('<tr><th scope="row">{}</th>{}</tr>'.format(
            html.escape(_class(names, label)), "".join(
                '<td{} style="--share: {:.3f}">{}</td>'.format(
                    ' class="right"' * (at == label), count / row.sum(), count)
                if count else "<td></td>" for at, count in enumerate(row))))
    return "".join(lines) + "</tbody></table></div>"


def _class(names, label):
    return names[label] if names[label] == str(label) else "{} {}".format(
        label, names[label])


def classes(answers):
    """A row for each class, folded."""
    rows = []
    for label, row in enumerate(answers.counts):
        wrong = row.copy()
        wrong[label] = 0
        rows.append([
            _class(answers.names, label), row.sum(), row[label],
            "{:.1%}".format(row[label] / row.sum()) if row.sum() else "-",
            "{} ({})".format(_class(answers.names, wrong.argmax()),
                             wrong.max()) if wrong.any() else "-"])
    return folded("Each class", table(
        ["class", "tested", "right", "share", "most often mistaken for"],
        rows, "numbers"))


def pictures(config, answers, drawn):
    """The surest mistakes: a PNG's bytes, or a line why not, and words."""
    blocks = block_names(config.placement())
    is_images = config.network == "digits"
    lines = [line(
        "{} of {} wrong answers, the surest first. {} the input{}.".format(
            len(drawn), len(answers.wrong),
            "Left" if is_images else "Above", (
                "; {} what the network sees, under what {}, its last block, "
                "attends to: |affinity|, mean over all queries, from 0 (black) "
                "to its largest (yellow)".format(
                    "right" if is_images else "below", blocks[-1]))
            if blocks else "; there is no block whose attention to draw")
        + ("" if is_images else " One view of each; the probabilities are "
           "means over the views that were tested."))]
    lines.append('<div class="pictures {}">'.format(
        "" if is_images else "clips"))
    for (label, answer, probability, given), picture in zip(
            answers.wrong, drawn):
        words = "is {}, not {} ({:.1%})".format(
            _class(answers.names, label), _class(answers.names, answer),
            probability)
        lines.append("<figure>{}<figcaption>{}</figcaption></figure>".format(
            line(picture) if isinstance(picture, str) else
            '<img alt="{}" src="data:image/png;base64,{}">'.format(
                html.escape(words), base64.b64encode(picture).decode()),
            html.escape(words + ("" if is_images else ": " + given))))
    return "".join(lines) + "</div>"
