"""OpenCV, which is there only if it was installed."""

import os
import sys

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
