"""The data sets by name, and the four arrays that a folder holds.

Any IDX set of square images works by its folder, and so does a folder of PNGs
for each class (`pictures`). Where a file is there both plain and as .gz, both
are read and must hold the same: neither is silently preferred, so that a
half-unpacked or a stale copy is noticed.
"""

import os
import zlib
from typing import NamedTuple

import numpy as np
from absl import logging

from nonlocal_tf.data import digits, download, idx, pictures
from nonlocal_tf.errors import UserError
from nonlocal_tf.storage import locked, make_folder, sha256

# The four files, in the order of the fields of `Dataset`.
FILES = (
    "train-images-idx3-ubyte", "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte",
)


class Dataset(NamedTuple):
    """Images [N, S, S, 1] uint8 and labels [N] int32, C-contiguous."""

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    class_names: tuple = ()             # by label; empty: not known


class Source(NamedTuple):
    """Where a data set comes from, and its files as published."""

    mirrors: tuple                                     # base URLs, in order
    files: dict                                        # name: (SHA-256, bytes)


def _files(end, text):
    """`FILES` with an ending, by a line each of SHA-256 and bytes."""
    entries = [line.split() for line in text.strip().split("\n")]
    return {name + end: (digest, int(size))
            for name, (digest, size) in zip(FILES, entries)}


DATASETS = {
    "mnist": Source(
        ("https://storage.googleapis.com/cvdf-datasets/mnist/",
         "https://ossci-datasets.s3.amazonaws.com/mnist/"),
        dict(_files(".gz", """
440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609 9912422
3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c 28881
8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6 1648877
f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6 4542
"""), **_files("", """
ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db 47040016
65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5 60008
0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7 7840016
ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2 10008
"""))),
    "fashion_mnist": Source(
        ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
         "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"),
        _files(".gz", """
3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84 26421880
a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845 29515
346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073 4422102
67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5 5148
""")),
    "kmnist": Source(
        ("http://codh.rois.ac.jp/kmnist/dataset/kmnist/",),
        _files(".gz", """
51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4 18165135
e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17 29497
edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5 3041136
20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c 5120
""")),
    # Written plain, so that the bytes are the same whatever the zlib.
    "digits": Source((), _files("", """
e1e4b843cf9a2739b7ff31562f9c0e73ffa685ce9082f1b68023bc5bb39a62f4 1127408
71560d471adb35a3a5428f86d7ec72c4f2debd7157fecd0e0b6ff78042165d1c 1446
6b10e8bac6ac993f4de1521aebbfac98c7fd1fdb86fe75f87cf30be87268b0d9 281472
8187a0c333056b945d5e57b858419afad4c7580e1847b995ce3a721853824888 367
""")),
}


def load(name, folder, mirrors=(), classes=None):
    """The four arrays of a data set; what is missing in `folder` is got there.

    Files that are not the published ones of `name` are used (a part of MNIST,
    or a set of one's own) and logged as such, unless they are those of
    another set of the table, or would have to be completed by published ones.

    Args:
      name: a key of `DATASETS`.
      folder: a local folder with `FILES`, each plain or as .gz.
      mirrors: base URLs that are tried before the known ones.
      classes: that are told apart; None: as many as the training labels have,
        each of which must be among them then.
    Returns:
      A `Dataset` with one label below `classes` for each image.
    Raises:
      UserError: one line: required, received, what to do.
    """
    if _is_of_pictures(folder):
        names = pictures.class_names(folder)
        logging.info("PNGs in %r, of the classes %s", folder, ", ".join(names))
        dataset = Dataset(*pictures.read_part(folder, "train", names),
                          *pictures.read_part(folder, "test", names),
                          class_names=names)
    else:
        _complete(name, folder, mirrors, FILES)
        dataset = Dataset(*_read_pair(folder, *FILES[:2]),
                          *_read_pair(folder, *FILES[2:]))
    check_side(dataset.test_images, dataset.train_images.shape[1], folder,
               "as the training images are")
    wanted = classes or max(
        2, dataset.train_labels.max() + 1, len(dataset.class_names))
    check_labels(dataset.train_labels, wanted, folder)
    check_labels(dataset.test_labels, wanted, folder)
    absent = ", ".join(
        str(dict(enumerate(dataset.class_names)).get(label, label))
        for label in np.setdiff1d(np.arange(wanted), dataset.train_labels))
    if absent and not classes:
        raise UserError(
            "The network tells {} classes apart, so that each must be among "
            "the training labels in {!r}; there is no {}. Put a set with all "
            "of them there, or give --classes {}.".format(
                wanted, folder, absent, wanted))
    if absent:
        logging.warning("No training label in %r is %s", folder, absent)
    return dataset


def load_test(name, folder, mirrors=(), class_names=()):
    """The test images and labels of a data set, as `load` gives them.

    The two test files, or the folder test/, are enough; only the files are
    downloaded; those of digits are not written.

    Args:
      name, folder, mirrors: see `load`.
      class_names: of pictures; by default the folders in train/.
    """
    if _is_of_pictures(folder):
        return pictures.read_part(
            folder, "test", class_names or pictures.class_names(folder))
    if name == "digits" and not _copies(folder, *FILES[2:]):
        return digits.digits()[2:]
    _complete(name, folder, mirrors, FILES[2:])
    return _read_pair(folder, *FILES[2:])


def has_test(name, folder):
    """Whether `load_test` has something to read without a download."""
    return name == "digits" or bool(
        _is_of_pictures(folder) or _copies(folder, FILES[2]) and _copies(
            folder, FILES[3]))


def check_side(images, side, folder, reason):
    """Raises UserError unless the images have `side`, for a `reason`."""
    if images.shape[1] != side:
        raise UserError(
            "Images must be {0}x{0}, {1}; in {2!r} some are {3}x{3}. Put a set "
            "of that size there, or name another --data_url.".format(
                side, reason, folder, images.shape[1]))


def check_labels(labels, classes, folder):
    """Raises UserError unless each label is below `classes`."""
    wrong = np.flatnonzero(labels >= classes)
    if wrong.size:
        raise UserError(
            "The labels in {!r} must be 0 to {}, since the network tells {} "
            "classes apart; label {} (counted from 0) is {}. Leave the other "
            "classes out, or train with --classes {}.".format(
                folder, classes - 1, classes, wrong[0], labels[wrong[0]],
                labels.max() + 1))


def fingerprint(dataset):
    """CRC-32 over the shapes and the values of the arrays, as 8 hex digits.

    It tells sets apart by accident, not by intent: enough to refuse to resume
    a run on other data.
    """
    crc = 0
    for array in dataset[:4]:
        crc = zlib.crc32(repr(array.shape).encode("ascii"), crc)
        crc = zlib.crc32(np.ascontiguousarray(
            array, array.dtype.newbyteorder("<")), crc)
    return "{:08x}".format(crc & 0xffffffff)


def _is_of_pictures(folder):
    """A folder with a file of IDX is one of IDX."""
    return not _copies(folder, *FILES) and pictures.is_set(folder)


def _copies(folder, *files):
    """The paths under which `folder` has the files, each plain and as .gz."""
    paths = [os.path.join(folder, file + end)
             for file in files for end in ("", ".gz")]
    return [path for path in paths if os.path.lexists(path)]


def _complete(name, folder, mirrors, files):
    """Gets the missing ones of `files`, unless `folder` holds another set."""
    foreign = []
    for path in _copies(folder, *FILES):
        published = _published_in(path)
        if published is None:
            foreign.append(os.path.basename(path))
        elif published != name:
            raise UserError(
                "--dataset {} needs a folder of its own; {!r} is a file of "
                "{}. Use --dataset {} or another --data_url.".format(
                    name, path, published, published))
    if foreign and name == "digits":
        raise UserError(
            "--dataset digits writes its own files, and {!r} holds something "
            "else: {}. Name another folder with --data_url.".format(
                folder, ", ".join(foreign)))
    if foreign:
        logging.info(
            "%s in %r: not the published files of %s byte for byte, used as "
            "they are", ", ".join(foreign), folder, name)
    missing = [file for file in files if not _copies(folder, file)]
    if missing and foreign:
        raise UserError(
            "{!r} must hold all four files of one set; missing: {}; not the "
            "published ones of {}, so that downloads would not fit them: {}. "
            "Add the missing files of the same set, or name an empty "
            "folder.".format(
                folder, ", ".join(missing), name, ", ".join(foreign)))
    if missing:
        _make(name, folder, missing, mirrors)


def _make(name, folder, missing, mirrors):
    """Writes or downloads what is missing, one process at a time."""
    existed = os.path.isdir(folder)
    make_folder(folder, "--data_url" if name == "digits" else
                "--data_url lacks {} to be downloaded, so it".format(
                    ", ".join(missing)))
    with locked(folder):
        missing = [file for file in missing if not _copies(folder, file)]
        if name == "digits" and missing:
            logging.info("Writing scikit-learn's digits to %r", folder)
            arrays = dict(zip(FILES, digits.digits()))
            for file in missing:
                idx.write_idx(os.path.join(folder, file), arrays[file])
        elif missing:
            _download(name, folder, missing, mirrors, existed)


def _published_in(path):
    """The name of the data set that publishes exactly this file, or None."""
    names = {entry: name for name, source in DATASETS.items()
             for entry in source.files.values()}
    try:
        size = os.path.getsize(path)
        if size in {size for _, size in names}:        # else not worth reading
            return names.get((sha256(path), size))
    except OSError:                                    # the reader will tell
        pass
    return None


def _download(name, folder, missing, mirrors, existed):
    source = DATASETS[name]
    for place, file in enumerate(missing):
        packed = file + ".gz"
        try:
            download.fetch(packed, *source.files[packed],
                           tuple(mirrors) + source.mirrors, folder)
        except download.DownloadError as error:
            if not (existed or os.listdir(folder)):
                os.rmdir(folder)
            raise UserError(
                "{!r} must hold files of {}; missing: {}; and no mirror gave "
                "{} ({}). Copy them there, plain or .gz, name a mirror with "
                "--mirror, or take the data set that needs no download: "
                "--dataset digits".format(folder, name, ", ".join(
                    each + ".gz" for each in missing[place:]), packed, error))


def _read_pair(folder, images_file, labels_file):
    images = _read(folder, images_file, idx.read_images)
    labels = _read(folder, labels_file, idx.read_labels)
    if len(images) != len(labels):
        raise UserError(
            "Each image needs one label; in {!r} {} holds {} images, {} {} "
            "labels. Put two files of the same set there, or delete both so "
            "that they are downloaded or made again.".format(
                folder, images_file, len(images), labels_file, len(labels)))
    return images, labels


def _read(folder, file, read):
    """A file's array; where it is there plain and as .gz, both must agree."""
    paths = _copies(folder, file)
    arrays = [read(path) for path in paths]
    if not np.array_equal(arrays[0], arrays[-1]):
        raise UserError(
            "{!r} and {!r} must hold the same, and they differ. Delete the "
            "one that is wrong.".format(*paths))
    return arrays[0]
