"""A strict fake of moxing: see tests/fakes/README.md."""

import os as _os

from moxing.framework import file

__all__ = ["file"]

if _os.environ.get("MOX_SILENT_MODE") != "1":
    print("INFO:root:Using MoXing-v0.0.0-fake\n"
          "INFO:root:Using OBS-Python-SDK-0.0.0-fake", flush=True)
