"""What the answers to a list of videos come to: rates, tables, a picture.

A record is a dict: "path", "label", and "error" and "missing", or "top", the
classes with the largest probabilities, "first", that of the first view alone,
"frames", "truncated" and "looped".
"""

import csv
import io
import json
import os

import numpy as np

from nonlocal_tf import storage
from nonlocal_tf.command import say, say_some

TOP = 5
FILES = ("videos.jsonl", "summary.json", "classes.csv", "confusion.csv",
         "confusion.png")
_CELL = 22                              # pixels of the picture's fields


def summary(records):
    """Counts, and rates from 0 to 1, or None where there is nothing.

    top1, top5: of all, where what cannot be read is wrong. The others are of
    what can be read; mean_class: of the classes that have such videos.
    """
    read = _read(records)
    hits = [(_hit(record, 1), _hit(record, TOP)) for record in read]
    top1, top5 = (sum(column) for column in zip(*hits)) if hits else (0, 0)
    rates = {}                              # label -> hits
    for record, (hit, _) in zip(read, hits):
        rates.setdefault(record["label"], []).append(hit)
    return {
        "videos": len(records), "readable": len(read),
        "missing": sum(bool(each.get("missing")) for each in records),
        "unreadable": sum("error" in each and not each["missing"]
                          for each in records),
        "truncated": sum(each["truncated"] for each in read),
        "looped": sum(each["looped"] for each in read),
        "top1": _share(top1, len(records)),
        "top5": _share(top5, len(records)),
        "top1_readable": _share(top1, len(read)),
        "top5_readable": _share(top5, len(read)),
        "clip1": _share(sum(each["first"] == each["label"] for each in read),
                        len(read)),
        "mean_class": _share(sum(
            sum(each) / len(each) for each in rates.values()), len(rates))}


def confusion(records, classes):
    """int [classes, classes]: of each label's videos, how many got which."""
    counts = np.zeros([classes, classes], int)
    for record in _read(records):
        counts[record["label"], record["top"][0]["class"]] += 1
    return counts


def worst(records):
    """Records with a wrong answer, that with the largest probability first."""
    return sorted(
        (each for each in _read(records) if not _hit(each, 1)),
        key=lambda each: -each["top"][0]["probability"])


def write(folder, records, names, found):
    """Writes all `FILES` but the first, each by rename.

    Args:
      folder: which is there.
      records: of all videos.
      names: of the classes, by label.
      found: what summary.json has.
    """
    counts = confusion(records, len(names))
    text = {
        "summary.json": json.dumps(found, indent=1) + "\n",
        "classes.csv": csv_text(class_table(records, names)),
        "confusion.csv": csv_text([["label \\ answer"] + list(names)] + [
            [name] + row.tolist() for name, row in zip(names, counts)])}
    for name, content in text.items():
        storage.write_text(os.path.join(folder, name), content)
    with storage.replacing(os.path.join(folder, "confusion.png")) as file:
        file.write(picture(counts, names))


def class_table(records, names):
    """A head, then a row for each class: label, name, counts, rates."""
    table = [["class", "name", "videos", "readable", "top1", "top5"]]
    for label, name in enumerate(names):
        own = [each for each in records if each["label"] == label]
        read = _read(own)
        table.append([label, name, len(own), len(read)] + [
            sum(_hit(each, top) for each in read) / len(read) if read else ""
            for top in (1, TOP)])
    return table


def say_rates(found, with_top5=True):
    """Says the rates of all videos of a `summary`, and of the readable."""
    form = "top-1 {:.2%}, top-5 {:.2%}" if with_top5 else "top-1 {:.2%}"
    say("{} of {} videos".format(
        form.format(found["top1"], found["top5"]), found["videos"]))
    if found["readable"] < found["videos"]:
        say("  of the {} that could be read {}".format(
            found["readable"], form.format(
                found["top1_readable"], found["top5_readable"])))


def show(records, names, found, plan):
    """Says the `summary`, and which videos could not be read or are wrong."""
    if not found["readable"]:
        return
    say_rates(found)
    say("clip-1 {:.2%}: the first view alone, {}".format(
        found["clip1"], plan.first()))
    say("mean of the classes {:.2%}".format(found["mean_class"]))
    say(", ".join("{} {}".format(found[name], name) for name in (
        "missing", "unreadable", "truncated", "looped")))
    say_some([each["error"] for each in records if "error" in each])
    wrong = worst(records)
    if wrong:
        say("wrong and surest of it, of {}:".format(len(wrong)))
    say_some(["{:6.2%}  {} is {}, not {}".format(
        each["top"][0]["probability"], each["path"], names[each["label"]],
        names[each["top"][0]["class"]]) for each in wrong])


def picture(counts, names):
    """The confusion matrix as the bytes of a PNG, of classes that occur.

    Darker is a larger share of its row; drawn by OpenCV, which decoded the
    videos. A name that is not ASCII is given as its number.
    """
    from nonlocal_tf.data.video.opencv import opencv
    cv2 = opencv()
    kept = np.flatnonzero(counts.sum(0) + counts.sum(1))
    counts = counts[kept][:, kept]
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, 0.4
    texts = ["{} {}".format(names[label], label) if all(
        " " <= sign <= "~" for sign in names[label]) else str(label)
        for label in kept]
    edge = 12 + max([cv2.getTextSize(text, font, scale, 1)[0][0]
                     for text in texts] + [110])
    side = edge + _CELL * len(kept) + 4
    image = np.full([side, side], 255, np.uint8)
    for place, text in enumerate(texts):
        cv2.putText(image, text, (4, edge + _CELL * place + 15), font, scale,
                    0, 1, cv2.LINE_AA)
    # The columns' names are the rows', turned to read upwards.
    image[:edge, edge:] = np.rot90(image[edge:, :edge])
    for line, text in enumerate(("row: label", "column: answer")):
        cv2.putText(image, text, (4, 14 + 16 * line), font, scale, 0, 1,
                    cv2.LINE_AA)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    for (row, column), share in np.ndenumerate(shares):
        x, y = edge + _CELL * column, edge + _CELL * row
        shade = int(255 * (1 - share))
        cv2.rectangle(image, (x, y), (x + _CELL, y + _CELL), shade, -1)
        cv2.rectangle(image, (x, y), (x + _CELL, y + _CELL), 200, 1)
        if 0 < counts[row, column] < 1000:
            cv2.putText(image, str(counts[row, column]), (x + 2, y + 15), font,
                        0.35, 255 if shade < 128 else 0, 1, cv2.LINE_AA)
    return cv2.imencode(".png", image)[1].tobytes()


def _read(records):
    return [each for each in records if "top" in each]


def _hit(record, top):
    return record["label"] in [each["class"] for each in record["top"][:top]]


def _share(count, total):
    return count / total if total else None


def csv_text(rows):
    """Rows of cells as a CSV file's text."""
    file = io.StringIO()
    csv.writer(file).writerows(rows)
    return file.getvalue()
