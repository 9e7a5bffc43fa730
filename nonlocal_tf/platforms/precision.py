"""Whether a machine can train in a precision, and why it cannot."""

import os

import tensorflow as tf

from nonlocal_tf import storage
from nonlocal_tf.errors import UserError
from nonlocal_tf.platforms import machine

tf1 = tf.compat.v1

COMPUTE_DTYPES = {"float32": tf.float32, "bfloat16": tf.bfloat16,
                  "mixed_float16": tf.float16}
# TensorFlow reads it when it is imported.
ONEDNN = "TF_ENABLE_ONEDNN_OPTS"


def check(precision, device):
    """Raises UserError where `precision` cannot be had, or gains nothing.

    Args:
      precision: "float32", "bfloat16" or "mixed_float16".
      device: "CPU" or "GPU".
    """
    if precision == "float32":
        return
    if device == "CPU":
        _check_processor(precision)
    reason = _try(COMPUTE_DTYPES[precision])
    if reason:
        raise _refused(precision, "TensorFlow {} cannot do it on this {} "
                       "({})".format(tf.__version__, device, reason))


def check_wire(precision, device):
    """Raises UserError where gradients cannot travel in `precision`."""
    if precision == "float32":
        return
    reason = ("of a GPU: TensorFlow's sums by NCCL are not known to take "
              "bfloat16") if device == "GPU" else (
        "on TensorFlow {}, whose collectives have no bfloat16 (2.6 and later "
        "have it)".format(tf.__version__)
        if tf.__version__.startswith("1.") else "")
    if reason:
        raise UserError("--gradient_precision must be float32 {}; got {}. "
                        "Leave it out.".format(reason, precision))


def _check_processor(precision):
    """What the operations would run without, and slowly."""
    if precision == "mixed_float16":
        raise _refused(precision, "a CPU has no float16 units that TensorFlow "
                       "uses; it takes a GPU", "--precision bfloat16 or ")
    if not machine.multiplies_bfloat16():
        raise _refused(precision, "this processor has no bfloat16 "
                       "instructions (avx512_bf16 or amx_bf16)")
    if tf.__version__.startswith("1."):
        raise _refused(precision, "TensorFlow {} has no oneDNN, whose bfloat16 "
                       "it takes; 2.6 and later have it".format(
                           tf.__version__))
    default = "0" if tf.__version__.startswith(("2.5", "2.6", "2.7", "2.8")) \
        else "1"
    if os.environ.get(ONEDNN, default).lower() in ("0", "false"):
        raise _refused(precision, "oneDNN is off; " + (
            "set {}=1 before TensorFlow is imported".format(ONEDNN)
            if default == "1" or machine.is_intel() else
            "TensorFlow {} may crash with it on this processor".format(
                tf.__version__)))


def _try(dtype):
    """Runs a convolution with batch norm and its gradients; "" or the error.
    """
    with tf.Graph().as_default(), tf1.Session() as session:
        images = tf.cast(tf.random.normal([2, 4, 4, 8]), dtype)
        kernel = tf.cast(tf.random.normal([3, 3, 8, 8]), dtype)
        result = tf1.nn.fused_batch_norm(
            tf1.nn.conv2d(images, kernel, [1, 1, 1, 1], "SAME"),
            tf.ones([8]), tf.zeros([8]), is_training=True)[0]
        try:
            session.run(tf1.gradients(tf.nn.relu(result), [images, kernel]))
        except (tf.errors.OpError, TypeError, ValueError) as error:
            return storage.gist(error)
    return ""


def _refused(precision, reason, instead=""):
    return UserError("--precision {} needs another machine or TensorFlow: {}. "
                     "Give {}--precision float32.".format(
                         precision, reason, instead))
