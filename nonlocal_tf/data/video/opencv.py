"""OpenCV, which is there only if it was installed."""

import os
import sys
import tempfile

from nonlocal_tf.errors import UserError


def opencv():
    """The module cv2.

    Raises:
      UserError: it cannot be imported.
    """
    # Its own lines and FFmpeg's name no file; a UserError or a record does.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "8")
    try:
        import cv2
    except ImportError as error:
        raise UserError(
            "Video files need OpenCV, and {} has none ({}). Run: {} -m pip "
            "install 'opencv-python-headless<4.12'".format(
                sys.executable, error, sys.executable))
    if hasattr(cv2, "setLogLevel"):     # Keras may have imported it before
        cv2.setLogLevel(2)              # errors
    return cv2


def decoder():
    """Name and version of what decodes, for results and caches."""
    return "OpenCV " + opencv().__version__


def write_mp4(path, frames, rate, width, height, otherwise=""):
    """Writes a video by rename; a last odd column or row is left out.

    Args:
      path: a .mp4 file.
      frames: uint8 [H, W, 3] each, red, green, blue.
      rate: frames a second.
      otherwise: what to do where OpenCV cannot.
    Raises:
      UserError: OpenCV cannot write it.
    """
    cv2 = opencv()
    width, height = width // 2 * 2, height // 2 * 2
    with tempfile.TemporaryDirectory(
            dir=os.path.dirname(os.path.abspath(path))) as folder:
        part = os.path.join(folder, "part.mp4")
        writer = cv2.VideoWriter(part, cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(
            *"mp4v"), rate, (width, height))
        if not writer.isOpened():
            raise UserError(
                "{!r} cannot be written: OpenCV makes no MPEG-4 of {} x {} "
                "pixels here.{}".format(path, width, height, otherwise))
        for frame in frames:
            writer.write(cv2.cvtColor(
                frame[:height, :width], cv2.COLOR_RGB2BGR))
        writer.release()
        os.replace(part, path)
