"""Files and texts for the tests of OBS."""

import hashlib
import os

CONTENT = hashlib.sha512(b"seed").digest() * 4000      # 256,000 bytes


def local(folder, name="file", content=CONTENT):
    path = os.path.join(str(folder), name)
    with open(path, "wb") as file:
        file.write(content)
    return path


def read(path):
    with open(str(path), "rb") as file:
        return file.read()


def one_line(caught):
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
    return str(caught.value)
