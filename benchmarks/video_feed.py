"""Clips a second that one core decodes and prepares, ours and others'.

A turn takes two training clips of each file, in every turn the same; all
contenders take the same frames and decode with one thread, on one core.
Seconds are the processor's, so that other work on the machine counts little.
Ours counts a file's frames by decoding them, once: "first epoch" does, "later"
knows them. mmaction2's own transforms read by Decord, whose opening of a file
is in each clip; it need not decode what lies before a key frame. PyAV decodes
forward to the last frame, is told the count, and hands its frames to our
resizing. --threads is 1 here.

    pip install --no-deps --target DIR mmaction2==1.2.0 mmengine \\
        mmcv-lite==2.1.0 addict yapf==0.40.2 termcolor rich einops \\
        platformdirs tomli "importlib_metadata<8" zipp markdown-it-py mdurl \\
        lazy_importer decord av
    PYTHONPATH=DIR python -m benchmarks.video_feed
"""

import contextlib
import importlib.util
import os
import sys
import time
import types
from unittest import mock

import numpy as np

from benchmarks import common
from benchmarks.common import Column
from nonlocal_tf import command
from nonlocal_tf.errors import UserError

ENDINGS = (".avi", ".mkv", ".mov", ".mp4")
LEAST = 16                              # frames of a file that counts
CLIPS = 2                               # of a file in a turn
REAL = os.path.relpath(
    os.path.join(common.ROOT, "..", "shared", "data", "video"))
OWN = os.path.relpath(os.path.join(common.ROOT, "dataset", "moving_digits"))
# Case: network of mmaction2-1.x, frames, interval.
CASES = {"8 segments (TSM)": ("tsm", 8, 0), "32x2 (I3D)": ("i3d", 32, 2),
         "8x8 (C2D)": ("c2d", 8, 8)}
COLUMNS = [
    Column("contender", "contender"), Column("clips/s", "clips_per_second"),
    Column("ours, later, over it", "ratio_of_ours")]


def main(arguments):
    """Runs the benchmark by its command line; returns the exit code."""
    return common.main("video_feed", __doc__, arguments, _add_flags, _measure)


def _add_flags(parser):
    parser.add_argument(
        "--videos", default=REAL if os.path.isdir(REAL) else "",
        metavar="FOLDER", help="of video files (default: ../shared/data/video "
        "where it is, else the moving digits, made in dataset/)")
    parser.add_argument(
        "--files", type=int, default=20, metavar="N",
        help="at most, evenly chosen (default: %(default)s)")


def _measure(flags, report):
    command.check_ranges(flags, ("files", 1, 10 ** 6))
    flags.threads = 1
    from nonlocal_tf.data.video.opencv import decoder, opencv
    with _one_core(opencv()):
        videos = _videos(flags)
        report.note("{}; files: {}".format(decoder(), ", ".join(
            "{} ({})".format(os.path.basename(path), video)
            for path, video in videos.items())))
        for case, (network, frames, interval) in CASES.items():
            rows = _rows(flags, videos, network)
            report.table(
                "{}, {} files, one core; median of {} rounds [least..most]"
                .format(case, len(videos), flags.rounds), COLUMNS, rows,
                case=case, frames=frames, interval=interval)
            for row in rows[2:]:
                found = row.get("ratio_of_ours")
                report.target("{}: ours, later, over {}".format(
                    case, row["contender"]), found and found.median, 1)


@contextlib.contextmanager
def _one_core(cv2):
    cores, threads = os.sched_getaffinity(0), cv2.getNumThreads()
    os.sched_setaffinity(0, {max(cores)})
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)
        cv2.setNumThreads(threads)


def _videos(flags):
    """Path -> `Video` of the files that count."""
    from nonlocal_tf.data.video import decode, moving_digits
    folder = flags.videos
    if not folder:
        os.makedirs(os.path.dirname(OWN), exist_ok=True)
        moving_digits.make(OWN)
        folder = OWN
    paths = sorted(os.path.join(where, name)
                   for where, _, names in os.walk(folder) for name in names
                   if name.endswith(ENDINGS))
    chosen = np.unique(np.linspace(
        0, len(paths), flags.files, endpoint=False).astype(int))
    found = {}
    for path in [paths[index] for index in chosen if paths]:
        with contextlib.suppress(UserError):
            video = decode.inspect(path)
            if video.count >= LEAST and not video.truncated:
                found[path] = video
    if not found:
        raise UserError(
            "--videos must name a folder with video files ({}) of {} frames "
            "or more; {!r} has none. Name another.".format(
                ", ".join(ENDINGS), LEAST, folder))
    return found


def _rows(flags, videos, network):
    """A row of the table for each contender; ours are the first two."""
    from nonlocal_tf.protocols import PROTOCOLS
    protocol = PROTOCOLS["mmaction2-1.x"]
    trunk = protocol.networks[network]
    makers = {"ours, first epoch": _ours(trunk, protocol, False),
              "ours, later": _ours(trunk, protocol, True)}
    missing = {}
    for name, package, make in (("mmaction2 by Decord", "mmaction", _mmaction2),
                                ("PyAV", "av", _pyav)):
        if importlib.util.find_spec(package):
            makers[name] = make(trunk, protocol)
        else:
            missing[name] = "not installed (see --help)"
    seconds = common.alternate(
        {name: _turn(make, videos) for name, make in makers.items()},
        flags.rounds, time.process_time)
    rates = {name: common.rates(taken, CLIPS * len(videos))
             for name, taken in seconds.items()}
    return [{
        "contender": name, "clips_per_second": common.figure(found),
        "ratio_of_ours": common.ratio(rates["ours, later"], found)}
        for name, found in rates.items()] + [
        {"contender": name, "missing": why} for name, why in missing.items()]


def _turn(make, videos):
    """The clips of a turn, of all contenders alike."""
    def act():
        for epoch in range(CLIPS):
            for index, (path, video) in enumerate(videos.items()):
                clip = make(path, video, epoch, index)
                assert clip.shape[1:] == (224, 224, 3), path
    return act


def _ours(trunk, protocol, is_counted):
    from nonlocal_tf.data.video import views

    def make(path, video, epoch, index):
        return views.train_clip(path, protocol, trunk, 224, 0, epoch, index,
                                video if is_counted else None)
    return make


def _pyav(trunk, protocol):
    import av

    from nonlocal_tf.data.video import views

    def frames(path, indices, video, change):
        wanted, last, result = set(indices.tolist()), indices.max(), {}
        with av.open(path) as container:
            container.streams.video[0].thread_count = 1
            for number, frame in enumerate(container.decode(video=0)):
                if number in wanted:
                    result[number] = change(frame.to_ndarray(format="rgb24"))
                if number == last:
                    break
        return np.stack([result[number] for number in indices]), video

    def make(path, video, epoch, index):
        with mock.patch.object(views, "frames", frames):
            return views.train_clip(
                path, protocol, trunk, 224, 0, epoch, index, video)
    return make


def _mmaction2(trunk, protocol):
    """Its training pipelines of these networks, but for the last layout."""
    from nonlocal_tf.data.video.indices import train_indices
    # 1.2.0's wheel lacks a file of its localizers, which it imports.
    sys.modules.setdefault("mmaction.models.localizers",
                           types.ModuleType("localizers"))
    from mmaction.datasets.transforms import loading, processing
    rule = trunk.train_crop
    steps = [
        loading.DecordInit(num_threads=1), None, loading.DecordDecode(),
        processing.Resize(scale=(-1, trunk.train_crop.short_sides[0])),
        processing.MultiScaleCrop(
            224, rule.scales, rule.gap, num_fixed_crops=rule.places),
        processing.Resize(scale=(224, 224), keep_ratio=False),
        processing.Flip(flip_ratio=0.5)]

    def make(path, video, epoch, index):
        found = {"filename": path, "modality": "RGB"}
        for step in steps:
            if step:
                found = step(found)
                continue
            # In place of SampleFrames: the frames of the other contenders.
            found["frame_inds"] = train_indices(
                trunk.views, found["total_frames"],
                np.random.RandomState([0, epoch, index]))
        return np.stack(found["imgs"])
    return make


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
