"""What stands in a list of videos: paths, and labels as they are written."""

import csv
import io
import os
import re
from typing import NamedTuple, Optional

from nonlocal_tf.data.class_names import named, normalised
from nonlocal_tf.errors import UserError
from nonlocal_tf.storage import gist

_PATHS = ("path", "video", "filename", "file", "video_name", "video_path",
          "file_name")
_STARTS = {"label_from_0": 0, "label_from_1": 1}
_LABELS = tuple(_STARTS) + ("label", "class", "tag", "index")
ENDINGS = (".mp4", ".avi", ".mkv", ".webm", ".mov", ".m4v", ".mpg", ".mpeg",
           ".wmv", ".flv", ".gif", ".3gp", ".ts", ".ogv")
_LABELLED = re.compile(r"(.*(?:{}))\s+(.+)$".format(
    "|".join(map(re.escape, ENDINGS))), re.IGNORECASE)


class Rows(NamedTuple):
    """A list as it is written.

    source: its path. paths: relative to the videos' folder, or whole. labels:
    texts, None where there is none. lines: their numbers; () of a folder.
    are_names: labels are names, whatever they look like. start: of the labels,
    0 or 1, if the list says it. own: names that the list brings, by label.
    remarks: for the user.
    """

    source: str
    paths: list
    labels: list
    lines: list
    are_names: bool = False
    start: Optional[int] = None
    own: tuple = ()
    remarks: tuple = ()

    def at(self, index):
        """Where a video stands, for errors."""
        return "{!r}, line {}".format(
            self.source, self.lines[index]) if self.lines else repr(
                os.path.join(self.source, self.paths[index]))

    def folders(self):
        """Names of the folders in which the videos lie."""
        return [os.path.basename(os.path.dirname(path)) for path in self.paths]


def read(path, root):
    """The `Rows` of a list or of a folder.

    Args:
      path: of either.
      root: folder of the videos, for names of files that a list only implies.
    Raises:
      UserError: it is no list of a known format, or is empty.
    """
    rows = _folder(path) if os.path.isdir(path) else _text(path, root)
    if not rows.paths:
        raise UserError("{!r} must have videos; it has none. Name a list of "
                        "them, or a folder with a folder for each class."
                        .format(path))
    return rows


def _is_video(path):
    return path.lower().endswith(ENDINGS)


def _folder(path):
    """A folder for each class; or one of videos without labels."""
    paths, labels, others = [], [], []
    names = [name for name in sorted(os.listdir(path)) if name[0] != "."]
    classes = [name for name in names
               if os.path.isdir(os.path.join(path, name))]
    for name in classes:
        for file in sorted(os.listdir(os.path.join(path, name))):
            if file[0] != "." and _is_video(file):
                paths.append(os.path.join(name, file))
                labels.append(name)
            elif file[0] != ".":
                others.append(os.path.join(name, file))
    if not paths:
        if any(os.path.isdir(os.path.join(path, other)) for other in others):
            raise UserError(
                "{!r} must have videos in its folders; {!r} is a folder. Name "
                "the one above the classes.".format(path, others[0]))
        paths = [file for file in names if _is_video(file)]
        return Rows(path, paths, [None] * len(paths), [])
    remarks = []
    if others:
        remarks.append("Files left out, as their names are none of videos: {} "
                       "(first: {!r}).".format(len(others), others[0]))
    empty = sorted(set(classes) - set(labels))
    if empty:
        remarks.append("Folders without a video: {} (first: {!r}).".format(
            len(empty), empty[0]))
    return Rows(path, paths, labels, [], True, remarks=tuple(remarks))


def _text(path, root):
    try:
        # Names of files may be in any encoding; bytes stay what they are.
        with open(path, encoding="utf-8-sig", errors="surrogateescape") as file:
            text = file.read()
    except OSError as error:
        raise UserError(
            "A list of videos must be a text or a folder; {!r}: {}.".format(
                path, gist(error)))
    if "\0" in text:
        raise UserError(
            "{!r} must be a list of videos, a text in UTF-8; it is none (a "
            "video, or UTF-16?). Name a list, or save it as UTF-8.".format(
                path))
    lines = [(number, line.strip()) for number, line in enumerate(
        text.split("\n"), 1) if line.strip()]
    for delimiter in ",\t;":
        header = [re.sub(r"\W+", "_", cell.strip(' "').lower()) for cell in (
            lines[0][1].split(delimiter) if lines else ())]
        if "youtube_id" in header:
            return _kinetics(path, root, header, _cells(path, text, delimiter))
        if set(header) & set(_PATHS):
            return _table(path, header, _cells(path, text, delimiter))
    if lines and all(map(_has_comma, lines)):
        pairs = [_parted_by_comma(line) for _, line in lines]
    else:
        pairs = [_parted(line) for _, line in lines]
    rows = Rows(path, [pair[0] for pair in pairs],
                [pair[1] for pair in pairs], [number for number, _ in lines])
    return rows._replace(own=_ucf(rows))


def _has_comma(line):
    """Whether a comma, and no blank, stands before the label."""
    path, comma, label = (part.strip() for part in line[1].rpartition(","))
    return bool(comma and label) and bool(
        _is_video(path.rstrip('"')) or " " not in line[1]
        and not _is_video(label))


def _parted_by_comma(line):
    """(path, label); commas and quotes may be in the path."""
    cells = next(csv.reader([line])) if line[0] == '"' else (
        line.rpartition(",")[::2])
    return ",".join(cells[:-1]).strip(), cells[-1].strip()


def _parted(line):
    """(path, label or None); blanks may be in both."""
    if _is_video(line):
        return line, None
    match = _LABELLED.match(line)
    if match:
        return match.groups()
    parts = line.rsplit(None, 1)
    return (parts[0], parts[1] if len(parts) == 2 else None)


def _cells(path, text, delimiter):
    """(line number, cells) of a table's lines; the header is the first."""
    reader = csv.reader(io.StringIO(text), delimiter=delimiter,
                        skipinitialspace=True)
    try:
        lines = [(reader.line_num, [cell.strip() for cell in cells])
                 for cells in reader if any(map(str.strip, cells))]
    except csv.Error as error:
        raise UserError("{!r}, line {}: {}. A quote may lack its other half."
                        .format(path, reader.line_num, error))
    columns = len(lines[0][1])
    for number, cells in lines:
        if any(cells[columns:]):
            raise UserError(
                "{!r}, line {}: there must be {} columns, as in its header; "
                "there are {}. Put what has a {!r} in it in quotes.".format(
                    path, number, columns, len(cells), delimiter))
    return lines


def _column(path, header, cells, names):
    """The cells below the first of `names` that is in the header, or None."""
    name = next((name for name in names if name in header), None)
    if name is None:
        return None
    index = header.index(name)
    column = [(line + [""] * index)[index] for _, line in cells[1:]]
    if "" in column:
        raise UserError("{!r}, line {}: {} must have a value, as its header "
                        "says.".format(
                            path, cells[1 + column.index("")][0], name))
    return column


def _table(path, header, cells):
    paths = _column(path, header, cells, _PATHS)
    labels = _column(path, header, cells, _LABELS)
    start = next((_STARTS[name] for name in header if name in _STARTS), None)
    return Rows(path, paths, labels or [None] * len(paths),
                [number for number, _ in cells[1:]], start=start)


def _kinetics(path, root, header, cells):
    """label, youtube_id, time_start, time_end, split."""
    ids, starts, ends = (_column(path, header, cells, (name,)) for name in (
        "youtube_id", "time_start", "time_end"))
    labels = _column(path, header, cells, ("label",)) or [None] * len(ids)
    if starts is None or ends is None:
        raise UserError("{!r} must have the columns time_start and time_end "
                        "beside youtube_id; it has {}.".format(
                            path, ", ".join(header)))
    numbers, paths = [number for number, _ in cells[1:]], []
    places = _Places(root or os.path.dirname(path))
    for number, name, start, end, label in zip(
            numbers, ids, starts, ends, labels):
        try:
            stem = "{}_{:06d}_{:06d}".format(
                name, int(float(start)), int(float(end)))
        except (ValueError, OverflowError):
            raise UserError("{!r}, line {}: times must be seconds; got {!r} "
                            "and {!r}.".format(path, number, start, end))
        paths.append(places.find(stem, label))
    return Rows(path, paths, labels, numbers, are_names=True)


class _Places:
    """Where Kinetics' files lie: in a folder, or by class in folders of it."""

    def __init__(self, root):
        self._root = root or "."
        with os.scandir(self._root) as entries:
            are_folders = {entry.name: entry.is_dir() for entry in entries}
        self._classes = {normalised(name): name for name, is_folder
                         in are_folders.items() if is_folder}
        self._folders, self._listed = {}, {"": set(are_folders)}

    def find(self, stem, label):
        """The path below the root; a likely one where there is no file."""
        if label not in self._folders:
            self._folders[label] = self._classes.get(
                normalised(label or ""), "")
        folder = self._folders[label]
        if folder not in self._listed:
            self._listed[folder] = set(os.listdir(
                os.path.join(self._root, folder)))
        for place in (folder, ""):
            for ending in (".mp4", ".mkv", ".webm"):
                if stem + ending in self._listed[place]:
                    return os.path.join(place, stem + ending)
        return os.path.join(folder, stem + ".mp4")


def _ucf(rows):
    """The classes of UCF-101's classInd.txt beside the list, by label."""
    path = os.path.join(os.path.dirname(rows.source), "classInd.txt")
    if not rows.paths or not os.path.isfile(path):
        return ()
    names = named(path, "classInd.txt")
    return names if rows.folders()[0] in names else ()
