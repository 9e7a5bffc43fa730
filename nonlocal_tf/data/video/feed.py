"""Videos of a list to batches of clips, made in threads ahead of the step."""

import dataclasses
import threading
import zlib

import numpy as np
from absl import logging

from nonlocal_tf.data import batches, class_names
from nonlocal_tf.data.ahead import ahead
from nonlocal_tf.data.video import lists, moving_digits, views
from nonlocal_tf.data.video.decode import Counts
from nonlocal_tf.data.video.indices import span
from nonlocal_tf.data.video.opencv import opencv
from nonlocal_tf.errors import UserError, bad
from nonlocal_tf.protocols import PROTOCOLS, one_view, sampling

_AHEAD = 2                              # batches
_BAD_SHARE = 0.1                        # of the training videos, at most


class Videos:
    """Lists of training and test videos, and what reading them has shown.

    train_labels, test_labels: int32 [N]. class_names: by label, or ().
    unreadable: path -> why, of those that were come across. truncated, short:
    path -> its `decode.Video`, of those that were taken all the same.
    """

    def __init__(self, train, test):
        self.train, self.test = train, test
        self.train_labels, self.test_labels = train.labels, test.labels
        self.class_names = train.class_names
        self.counts = Counts()
        self.unreadable, self.truncated, self.short = {}, {}, {}
        self._train_paths, self._lock = set(train.paths), threading.Lock()

    def video(self, path, views):
        """The `decode.Video` of a file, of which `views` are to be taken."""
        video = self.counts.video(path)
        if video.truncated:
            self.truncated[path] = video
        if video.count < span(views):
            self.short[path] = video
        return video

    def note(self, path, error):
        """A video that cannot be read.

        Raises:
          UserError: it is of the training, and so are more than a tenth.
        """
        with self._lock:
            if path in self.unreadable:
                return
            self.unreadable[path] = str(error)
            logging.warning("Left out: %s", error)
            bad_ones = self._train_paths.intersection(self.unreadable)
            if path in bad_ones and (
                    len(bad_ones) > _BAD_SHARE * len(self._train_paths)):
                raise UserError(
                    "{} of {} training videos cannot be read, and one in ten "
                    "may not; the last: {} See all: python -m "
                    "nonlocal_tf.check_videos LIST".format(
                        len(bad_ones), len(self._train_paths), error))


def load(config):
    """The `Videos` of a `TrainConfig`.

    Raises:
      UserError: a list is missing or wrong, or there is no OpenCV.
    """
    opencv().setNumThreads(1)           # clips are made in threads already
    train, test, root = config.data_url, config.test_url, config.video_root
    names = class_names.named(config.class_names) if (
        config.class_names) else ()
    if config.dataset == "moving_digits":
        train, test = moving_digits.make(config.data_folder())
        root, names = "", tuple(moving_digits.DIRECTIONS)
    for name, value in (("data_url", train), ("test_url", test)):
        if not value:
            raise bad(name, "a list of {} videos, or a folder with a folder "
                      "for each class (--dataset moving_digits needs none)"
                      .format("test" if name == "test_url" else "training"),
                      "none")
    found = lists.read(train, root, names, config.classes, config.label_start)
    tests = lists.read(test, root, found.class_names or names, config.classes,
                       found.start)
    for path, videos in ((train, found), (test, tests)):
        for remark in videos.remarks:
            logging.info("%s: %s", path, remark)
    both = set(found.paths).intersection(tests.paths)
    if both:
        logging.warning("%d test videos are training videos too, such as %s: "
                        "the accuracy will say little.", len(both), min(both))
    return Videos(found, tests)


def settled(config, data):
    """With the number of classes, and from which labels count."""
    highest = int(max(data.train_labels.max(), data.test_labels.max()))
    classes = config.classes or len(data.class_names) or highest + 1
    if min(data.train_labels.min(), data.test_labels.min()) < 0:
        raise UserError("Each video needs a label; some in --data_url or "
                        "--test_url have none. Add them: PATH LABEL.")
    if highest >= classes:
        raise bad("classes", "{} or more, as the labels are 0 to {}".format(
            highest + 1, highest), classes)
    if len(data.class_names) not in (0, classes) or classes < 2:
        raise bad("classes", "2 or more, and as many as there are names ({})"
                  .format(len(data.class_names)), classes)
    return dataclasses.replace(
        config, classes=classes, label_start=data.train.start)


def fingerprint(data):
    """CRC-32 of the training list's order, names and labels, as hex digits.

    Of names without folders: a list may be moved with its videos.
    """
    text = "\n".join("{} {}".format(path.rpartition("/")[2], label)
                     for path, label in zip(data.train.paths,
                                            data.train_labels))
    return "{:08x}".format(zlib.crc32(
        text.encode("utf-8", "surrogateescape")) & 0xffffffff)


def train_batches(config, data, epoch, start, rank, ranks):
    """Yields the batches of an epoch; see `data.batches.train_batches`.

    Clips are made in threads, up to two batches before they are wanted; each
    is a function of (seed, epoch, index of the video). A video that cannot be
    read is replaced by the next in the epoch's order.

    Yields:
      uint8 [B, T, S, S, 3], int32 [B].
    Raises:
      UserError: more than a tenth of the videos cannot be read.
    """
    labels, paths = data.train_labels, data.train.paths
    order = batches.epoch_order(config.seed, epoch, len(labels))
    steps = batches.steps_per_epoch(len(labels), config.batch_size, ranks)
    protocol, row = PROTOCOLS[config.protocol], sampling(config)

    def make(place):
        for offset in range(len(order)):
            index = order[(place + offset) % len(order)]
            path = paths[index]
            if path in data.unreadable:
                continue
            try:
                return views.train_clip(
                    path, protocol, row, config.image_size, config.seed,
                    epoch, index, data.video(path, row.views), config.flip), (
                        labels[index])
            except UserError as error:
                data.note(path, error)
        raise UserError("No training video can be read.")

    size = config.batch_size
    places = [place for step in range(start, steps)
              for place in range((step * ranks + rank) * size,
                                 (step * ranks + rank + 1) * size)]
    try:
        yield from _stacked(_made(make, places, config), size)
    finally:
        data.counts.save()


def test_batches(config, data, batch_size, rank, ranks):
    """Yields the middle clip of each test video; those unreadable are noted.

    Yields:
      uint8 [B, T, S, S, 3], int32 [B], valid: those behind it are zeros.
    """
    protocol = PROTOCOLS[config.protocol]
    view = one_view(sampling(config), config.image_size)

    def make(index):
        path = data.test.paths[index]
        try:
            return views.test_views(path, protocol, view, data.video(
                path, view))[0], data.test_labels[index]
        except UserError as error:
            data.note(path, error)

    made = filter(None, _made(
        make, range(rank, len(data.test_labels), ranks), config))
    try:
        for clips, labels in _stacked(made, batch_size):
            valid = len(labels)
            yield (batches.padded(clips, batch_size),
                   batches.padded(labels, batch_size), valid)
    finally:
        data.counts.save()


def remarks(config, data):
    """Lines at the end of a run: what was amiss since its start."""
    lines = ["Videos {}: {}, such as {} ({})".format(
        what, len(found), min(found), found[min(found)]) for what, found in (
            ("that are cut off, damaged or of uneven rate, taken as far as "
             "they go", data.truncated),
            ("shorter than a clip, whose frames came again", data.short))
        if found]
    found = sorted(data.unreadable)
    if found:
        lines.append(
            "Videos that could not be read since this start: {} of {} for "
            "training (others took their places), {} of {} for the test "
            "(counted as wrong):".format(
                len(set(data.train.paths).intersection(found)),
                len(data.train_labels),
                len(set(data.test.paths).intersection(found)),
                len(data.test_labels)))
    lines += ["  " + data.unreadable[path] for path in found[:10]]
    if found[10:]:
        lines.append("  and {} more: python -m nonlocal_tf.check_videos {}"
                     .format(len(found) - 10, config.data_url))
    return lines


def _made(make, items, config):
    """`ahead`, with the config's threads."""
    return ahead(make, items, config.decoders(), _AHEAD * config.batch_size)


def _stacked(made, size):
    """Pairs to batches of `size` of them; the last may have fewer."""
    clips, labels = [], []
    for clip, label in made:
        clips.append(clip)
        labels.append(label)
        if len(labels) == size:
            yield np.stack(clips), np.array(labels, np.int32)
            clips, labels = [], []
    if labels:
        yield np.stack(clips), np.array(labels, np.int32)
