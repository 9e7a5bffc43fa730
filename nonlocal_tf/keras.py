"""The non-local block as a Keras layer: Keras 3, and tf.keras from 2.6 on."""

import inspect

import tensorflow as tf

from nonlocal_tf import non_local

if tuple(map(int, tf.__version__.split(".")[:2])) < (2, 6):
    raise ImportError("nonlocal_tf.keras needs TensorFlow 2.6 or later, not "
                      "{}; nonlocal_tf.NonLocalBlock does not".format(
                          tf.__version__))

_KERAS_3 = hasattr(tf.keras, "Operation")
if _KERAS_3 and tf.keras.config.backend() != "tensorflow":
    raise ImportError("nonlocal_tf.keras needs Keras's backend tensorflow, not "
                      "{}; set KERAS_BACKEND=tensorflow".format(
                          tf.keras.config.backend()))

# Of a weight: float32 whatever the policy, as `layers` wants it.
_NO_CAST = {"autocast" if _KERAS_3 else "experimental_autocast": False}
_MEAN = "mean" if _KERAS_3 else tf.VariableAggregation.MEAN
_DEFAULTS = {
    parameter.name: parameter.default for parameter in inspect.signature(
        non_local.NonLocalBlock).parameters.values()
    if parameter.name not in ("channels", "name")}


@tf.keras.utils.register_keras_serializable(package="nonlocal_tf")
class NonLocalBlock(tf.keras.layers.Layer):
    """`nonlocal_tf.NonLocalBlock`, whose weights are Keras's.

    z = W_z y + x (Eq. 6 of arXiv:1711.07971), which is x at the start: it can
    be put into a trained network. Batch norm uses the batch's statistics, and
    moves its own, where `training` is true and the layer is `trainable`.
    Under a mixed policy weights, softmax, the mean over keys and batch norm's
    statistics stay float32.

    Args:
      inner_channels: K, width of theta, phi and g; C // 2 by default.
      instantiation: "embedded_gaussian", "gaussian", "dot_product" or
        "concatenation".
      **settings: what else `nonlocal_tf.NonLocalBlock` takes, but for
        `channels`, which the input has, and a `momentum` that is a number;
        and Keras's `name`, `dtype` and `trainable`.
    Raises:
      ValueError: eager execution is off, whose graphs would not move batch
        norm's statistics; `dtype` computes in none of float32, bfloat16 and
        float16;
        at the first call as `nonlocal_tf.NonLocalBlock`, or C is unknown.
    """

    def __init__(self, inner_channels=None, instantiation="embedded_gaussian",
                 **settings):
        if not tf.compat.v1.executing_eagerly_outside_functions():
            raise ValueError("nonlocal_tf.keras needs eager execution, which "
                             "is off; nonlocal_tf.NonLocalBlock does not")
        super().__init__(**{name: value for name, value in settings.items()
                            if name not in _DEFAULTS})
        if self.compute_dtype not in ("float32", "bfloat16", "float16"):
            raise ValueError("dtype must be float32, mixed_bfloat16 or "
                             "mixed_float16, not " + self.compute_dtype)
        self._settings = dict(
            _DEFAULTS, inner_channels=inner_channels,
            instantiation=instantiation, **{
                name: value for name, value in settings.items()
                if name in _DEFAULTS})

    def build(self, input_shape):
        """Makes the weights, for x of this shape."""
        if len(input_shape) not in (3, 4, 5) or input_shape[-1] is None:
            raise ValueError(
                "x must be [B, T, C], [B, H, W, C] or [B, T, H, W, C] with a "
                "known C, not {}".format(tuple(input_shape)))
        with tf.init_scope():
            self.block = non_local.NonLocalBlock(
                input_shape[-1], **self._settings)
        self._weight_names = {}
        for part in self.block.submodules:
            for attribute, value in sorted(vars(part).items()):
                if isinstance(value, tf.Variable):
                    setattr(part, attribute, self._weight(value))
        self.input_spec = tf.keras.layers.InputSpec(axes={-1: input_shape[-1]})
        super().build(input_shape)

    def _weight(self, variable):
        """Keras's own in place of a variable of the block."""
        with tf.init_scope():
            initial = variable.read_value()
        name = "/".join(variable.name.split(":")[0].split("/")[-2:])
        weight = self.add_weight(
            name=name.replace("/", "_") if _KERAS_3 else name,
            shape=variable.shape, dtype="float32",
            initializer=lambda *_, **__: initial,
            trainable=variable.trainable, aggregation=_MEAN, **_NO_CAST)
        self._weight_names[name] = weight
        return weight

    def named_weights(self):
        """{"theta/kernel": weight}, named as in checkpoints of the trainers."""
        return dict(self._weight_names)

    def call(self, x, training=None, return_affinity=False, frames=None):
        """Applies the block.

        Args:
          x: [B, T, C], [B, H, W, C] or [B, T, H, W, C]; any size but C may be
            unknown.
          training: whether batch norm uses the batch's statistics.
          return_affinity: also return f / C(x).
          frames: T, of x as [B T, H, W, C].
        Returns:
          z, of x's shape; with `return_affinity` the pair of z and the
          affinity [B, N, M].
        """
        return self.block(
            x, is_training=bool(training) and self.trainable,
            return_affinity=return_affinity, frames=frames)

    def compute_output_shape(self, input_shape):
        """Of z: that of x."""
        return input_shape

    def compute_output_spec(self, *args, **kwargs):
        """What Keras 3 asks: from `call`, which may return a pair."""
        return tf.keras.Operation.compute_output_spec(self, *args, **kwargs)

    def get_config(self):
        return dict(super().get_config(), **self._settings)
