"""Shows what the blocks of a trained network attend to.

    python -m nonlocal_tf.explain SEVEN.png --train_url DIR
    python -m nonlocal_tf.explain t10k-images-idx3-ubyte:7 --train_url DIR
    python -m nonlocal_tf.explain VIDEO --train_url DIR [--block res3:1]

Writes into --output, or with several inputs into a folder in it for each:
attention.html, one file with the input and what any position of it attends to
in any block; attention.png, of one --query, and of a video attention.mp4;
attention.npz, the exact affinities. Prints how far each block attends. Of a
video one view is taken: the centre of one clip, as the network's protocol has
it; a .npy file, uint8 [T, H, W, 3], is taken as it is.
"""

import contextlib
import os
import re
import sys
import zipfile

import numpy as np

from nonlocal_tf import command, storage
from nonlocal_tf.architecture import block_names
from nonlocal_tf.command import say
from nonlocal_tf.errors import UserError, bad

_PAGE, _ARRAYS = "attention.html", "attention.npz"
_SHEET, _VIDEO = "attention.png", "attention.mp4"
_FORMS = (
    "Weights are shares that sum to 1.",
    "Weights are no shares but f / M: of dot_product they may be negative, of "
    "concatenation they are not. The colours diverge from 0.")


def main(arguments):
    """Explains by command-line arguments; returns the exit code."""
    return command.run("explain", lambda: explain(parse(arguments)))


def parse(arguments):
    """The flags as a namespace; `query` is a tuple of numbers, or None."""
    parser = command.Parser.of_module("nonlocal_tf.explain", __doc__)
    parser.add_argument("files", nargs="+", metavar="INPUT")
    parser.add_run()
    parser.add_argument(
        "--block", default="", help="the one that attention.png shows, such "
        "as res3:1 (default: all)")
    parser.add_argument(
        "--query", default="", metavar="Y,X | T,Y,X", help="the position "
        "that attention.png shows: pixel, and frame, of what the network sees "
        "(default: the middle)")
    parser.add_argument(
        "--output", default="attention", help="folder to write to (default: "
        "%(default)s)")
    parser.add_argument(
        "--invert", action="store_true", help="pictures are black on white")
    flags = parser.parse(arguments)
    if flags.query and not re.match(r"^\d+(,\d+){1,2}$", flags.query):
        raise bad("query", "Y,X, or T,Y,X of a video, such as 14,20",
                  repr(flags.query))
    flags.query = flags.query and tuple(map(int, flags.query.split(",")))
    return flags


def explain(flags):
    """Writes and prints what is seen of each input; returns the exit code.

    Raises:
      UserError: an input, the network or a flag is not what it must be.
    """
    import tensorflow as tf

    from nonlocal_tf import trained
    tf.compat.v1.logging.set_verbosity(tf.compat.v1.logging.ERROR)
    found = trained.find(flags.train_url, flags.checkpoint)
    names = block_names(found.config.placement())
    if not names:
        raise UserError("The network of {!r} has no non-local block. Train "
                        "one with --non_local.".format(found.prefix))
    block = flags.block.replace(":", "/")
    if block and block not in names:
        raise bad("block", "one of " + ", ".join(names).replace("/", ":"),
                  repr(flags.block))
    for number, file in enumerate(flags.files, 1):
        folder = flags.output if len(flags.files) == 1 else os.path.join(
            flags.output, "{}-{}".format(number, os.path.splitext(
                os.path.basename(file))[0].replace(":", "-")))
        _explain(file, found, [block] if block else names, flags.query,
                 folder, flags.invert)
    return 0


def _explain(file, found, chosen, query, folder, invert):
    """Writes and prints what is seen of one input; `chosen` are its blocks."""
    from nonlocal_tf import health
    from nonlocal_tf.pages import attention, seen
    config = found.config
    shown = seen.read(file, config, invert)
    frames = shown.batch[0] if shown.batch.ndim == 5 else shown.batch
    query = _query(query, frames.shape[:3], frames.shape[3] == 1)
    storage.make_folder(folder, "--output")
    # Of another input, which do not belong to the page that comes.
    former = {_SHEET, _VIDEO} if os.path.exists(os.path.join(
        folder, _PAGE)) else set()
    each = seen.look(found, shown.batch)
    probabilities, measured, sizes = next(each)
    answer = "{} ({:.2%})".format(
        found.names[probabilities.argmax()], probabilities.max())
    say("{}: {}".format(file, answer))
    names = block_names(config.placement())
    blocks, rows = _each_block(folder, config, frames, query, names, sizes,
                               each)
    storage.write_text(os.path.join(folder, _PAGE), attention.page(
        os.path.basename(file), frames, blocks, _notes(found, shown, rows),
        query=query, start=names.index(chosen[0]), forms=_FORMS,
        numbers=shown.frames, original=shown.original,
        shownFrames={row.name: row.frames for row in rows},
        answer="The network says: " + answer))
    written = [_PAGE, _ARRAYS] + _write_sheets(folder, frames, [
        row for row in rows if row.name in chosen])
    for name in former.difference(written):
        with contextlib.suppress(OSError):
            os.remove(os.path.join(folder, name))
    for line in health.table(health.summary(names, measured),
                             os.path.basename(file), config.instantiation):
        say(line)
    for path in (os.path.join(folder, name) for name in written):
        say("  {}  {:,} bytes".format(path, os.path.getsize(path)))


def _each_block(folder, config, frames, query, names, sizes, affinities):
    """Writes attention.npz; what page and sheets need of each block."""
    from nonlocal_tf.pages import attention, geometry, sheets
    storage.check_space(folder, sum(4 * n * m for n, m in sizes))
    layouts = geometry.maps(config, frames.shape[:3])
    signed = "gaussian" not in config.instantiation
    blocks, rows = [], []
    with storage.replacing(os.path.join(folder, _ARRAYS)) as file:
        with zipfile.ZipFile(file, "w") as archive:
            _add(archive, "input", frames)
            for name, kept, affinity in zip(
                    names, attention.kept_keys(sizes), affinities):
                layout = layouts[name.split("/")[0]]
                size = [[axis.count for axis in axes] for axes in layout]
                _add(archive, name + "/affinity", affinity.reshape(
                    size[0] + size[1]))
                for kind, axes in zip(("query", "key"), layout):
                    for letter, axis in zip("tyx", axes):
                        _add(archive, "{}/{}_{}".format(name, kind, letter),
                             axis.centres())
                index = tuple(int(axis.nearest(at)) for axis, at in zip(
                    layout.queries, query))
                row = affinity[np.ravel_multi_index(index, size[0])]
                rows.append(sheets.Row(
                    name, layout, geometry.shown_frames(
                        layout, config, len(frames)), index,
                    row.reshape(size[1]), signed))
                if query[0] >= rows[-1].frames:
                    say("Of {} the first {} frames alone are shown: frame {:g} "
                        "asks in place of {}.".format(
                            name, rows[-1].frames, layout.queries[0].centres()[
                                index[0]], query[0]))
                blocks.append(attention.block(
                    name, layout, affinity, signed, kept))
    return blocks, rows


def _add(archive, name, array):
    """An array of an .npz file that is being written."""
    with archive.open(name + ".npy", "w", force_zip64=True) as file:
        np.lib.format.write_array(file, np.asarray(array))


def _notes(found, shown, rows):
    """What the page says below the input."""
    notes = [shown.words, "Colours and numbers here are rounded to 255 steps "
             "of each query's largest weight; attention.npz has them exactly."]
    if any(row.frames < len(shown.frames) for row in rows):
        notes.append("Blocks of res3 attend within groups of frames; the first "
                     "group is shown.")
    return notes + ["Network: {}, step {}, {}.".format(
        found.prefix, found.step, found.config.instantiation)]


def _write_sheets(folder, frames, rows):
    """Writes the pictures; their names, none without OpenCV."""
    from nonlocal_tf.data.video.opencv import opencv
    from nonlocal_tf.pages import attention, sheets
    try:
        opencv()
    except UserError:
        say("{} is left out: it needs OpenCV. Run: {} -m pip install "
            "'opencv-python-headless<4.12'".format(_SHEET, sys.executable))
        return []
    with storage.replacing(os.path.join(folder, _SHEET)) as file:
        file.write(attention.png(sheets.sheet(frames, rows)))
    if len(frames) == 1:
        return [_SHEET]
    sheets.video(os.path.join(folder, _VIDEO), frames, rows)
    return [_SHEET, _VIDEO]


def _query(query, shape, is_picture):
    """Frame, row and column; the middle where none is given."""
    if not query:
        return tuple(size // 2 for size in shape)
    if len(query) == 2:
        query = (shape[0] // 2,) + query
    elif is_picture:
        raise bad("query", "Y,X of a picture", "three numbers")
    for name, at, size in zip(("frame", "row", "column"), query, shape):
        if at >= size:
            raise bad("query", "a {} from 0 to {} of what the network sees"
                      .format(name, size - 1), at)
    return query


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
