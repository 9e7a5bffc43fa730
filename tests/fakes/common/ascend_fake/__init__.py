"""A strict fake of Ascend's TensorFlow adapter: see tests/fakes/README.md.

Made from shared/reference/ascend.md only, never from the code it judges.
"""

from ascend_fake.errors import AscendFakeError

__all__ = ["AscendFakeError"]
