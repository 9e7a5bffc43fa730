"""One input as a network sees it, and what its blocks make of it."""

from typing import NamedTuple

import numpy as np


class Input(NamedTuple):
    """What the network is shown, and where that lies in the original.

    batch: uint8, one. original: of rows and columns (scale, offset, size):
    pixel p lies at scale * p + offset of that many. frames: their numbers in
    the original. words: the same, for a person.
    """

    batch: np.ndarray
    original: tuple
    frames: tuple
    words: str


def read(file, config, invert=False):
    """The `Input` of a file.

    Raises:
      UserError: it is not what the network takes.
    """
    from nonlocal_tf import tasks
    if config.network == "digits":
        from nonlocal_tf.data import pictures
        side = config.image_size
        picture = pictures.read(file, side, invert)
        before = [(side - each) // 2 for each in picture.shape]
        original = tuple((1, -start, each) for start, each in zip(
            before, picture.shape))
        words = "The network sees the {} x {} pixels of the picture.".format(
            side, side) if picture.shape == (side, side) else (
            "The picture, {} x {}, lies at row {} and column {} of the {} x "
            "{} that the network sees; around it are zeros.".format(
                *picture.shape + tuple(before) + (side, side)))
        return Input(pictures.centred(picture, side), original, (0,), words)
    if file.lower().endswith((".npy", ".npz")):
        batch = tasks.of(config).read(file, config, None)
        return Input(
            batch, tuple((1, 0, each) for each in batch.shape[2:4]),
            tuple(range(batch.shape[1])), "The clip is taken as it is.")
    return _of_video(file, config)


def _of_video(file, config):
    from nonlocal_tf import answers
    from nonlocal_tf.data.video import crops, decode, indices, resize, views
    plan = answers.plan(config, views="1x1")
    protocol, row = plan.protocol, plan.views
    video = decode.inspect(file)
    width, height = resize.resized_size(
        video.width, video.height, row.short_side, protocol.size_rule)
    (x, y, _), = crops.test_crops(row, width, height)
    view = next(views.each_view(file, protocol, row, video))
    numbers, = indices.test_indices(row, video.count)
    original = tuple(
        (whole / side, (start + 0.5) * whole / side - 0.5, whole)
        for whole, side, start in (
            (video.height, height, y), (video.width, width, x)))
    return Input(view[None], original, tuple(map(int, numbers)), (
        "The network sees {0} x {0} at row {1} and column {2} of the frames, "
        "which are resized from {3} x {4} to {5} x {6} (rows x columns), of "
        "the {7} frames those with the numbers {8}.".format(
            row.crop_size, y, x, video.height, video.width, height, width,
            video.count, ", ".join(map(str, numbers)))))


def look(found, batch):
    """What a network says of one input, and how its blocks attend.

    Args:
      found: a `trained.Checkpoint`.
      batch: uint8, of one.
    Yields:
      Probabilities [classes], what `health.measure` has, and N and M of each
      block; then of each block the affinity, float32 [N, M].
    Raises:
      UserError: the checkpoint is of another network; an answer or affinity
        is not finite.
    """
    import tensorflow as tf

    from nonlocal_tf import health, tasks, trained
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        images = tf.compat.v1.placeholder(tf.uint8, batch.shape, "images")
        network, watched = tasks.make_network(found.config, device="CPU"), []
        logits = network(images, is_training=False, watch=watched)
        affinities = [block.compare(queries, keys)[1]
                      for block, queries, keys in watched]
        fetched = [tf.nn.softmax(logits), health.measure(watched), [
            pair for _, *pair in watched]]
        trained.restore(session, list(network.variables), found.prefix)
        (probabilities,), measured, pairs = session.run(
            fetched, {images: batch})
        trained.check_finite("answers", probabilities, found)
        yield probabilities, measured, [
            affinity.shape.as_list()[1:] for affinity in affinities]
        for (_, queries, keys), values, affinity in zip(
                watched, pairs, affinities):
            weights = session.run(
                affinity, {queries: values[0], keys: values[1]})[0]
            trained.check_finite("affinities", weights, found)
            yield weights


def mean_of_last(found, shape):
    """A function of a uint8 batch of one, which has `shape`.

    It gives |affinity| of the network's last block, as a mean over all
    queries, float32 [M].
    """
    import tensorflow as tf

    from nonlocal_tf import tasks, trained
    with tf.Graph().as_default():
        images = tf.compat.v1.placeholder(tf.uint8, shape, "images")
        network, watched = tasks.make_network(found.config, device="CPU"), []
        network(images, is_training=False, watch=watched)
        block, queries, keys = watched[-1]
        mean = tf.reduce_mean(tf.abs(block.compare(queries, keys)[1]), 1)
        session = tf.compat.v1.Session()
        trained.restore(session, list(network.variables), found.prefix)
    return lambda batch: session.run(mean, {images: batch})[0]
