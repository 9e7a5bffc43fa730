"""Pre-activation ResNet with non-local blocks, for small grey images."""

import tensorflow as tf

from nonlocal_tf.architecture import (
    DEPTHS,
    DIGIT_CLASSES,
    DIGIT_SIZE,
    EXPANSION,
    PLACEMENTS,
    STAGES,
    check_placement,
)
from nonlocal_tf.layers import MOMENTUM, BatchNorm, Conv, Dense
from nonlocal_tf.non_local import NonLocalBlock


class Bottleneck(tf.Module):
    """1x1, 3x3, 1x1 convolutions, each after batch norm and ReLU.

    Full pre-activation (arXiv:1603.05027, Fig. 4e); the stride is in the 3x3.
    A projection shortcut has a batch norm of its own, as in the known system.

    Args:
      in_channels: width of the input.
      width: of the 3x3 convolution; the output is 4 times as wide.
      stride: 1 or 2.
      projection: whether the shortcut is a 1x1 convolution; else x itself.
      momentum: of batch norm; see `layers.BatchNorm`.
    """

    def __init__(self, in_channels, width, stride, projection, momentum,
                 name="bottleneck"):
        super().__init__(name=name)
        out_channels = EXPANSION * width
        with self.name_scope:
            self.projection = projection
            if projection:
                self.shortcut_norm = BatchNorm(
                    in_channels, momentum=momentum, name="shortcut_norm")
                self.shortcut = Conv(
                    in_channels, out_channels, 1, stride, name="shortcut")
            self.norm1 = BatchNorm(
                in_channels, momentum=momentum, name="norm1")
            self.conv1 = Conv(in_channels, width, 1, name="conv1")
            self.norm2 = BatchNorm(width, momentum=momentum, name="norm2")
            self.conv2 = Conv(width, width, 3, stride, name="conv2")
            self.norm3 = BatchNorm(width, momentum=momentum, name="norm3")
            self.conv3 = Conv(width, out_channels, 1, name="conv3")

    def __call__(self, x, *, is_training):
        """[B, H, W, in_channels] -> [B, ceil(H/s), ceil(W/s), 4 width]."""
        with self.name_scope:
            shortcut = x
            if self.projection:
                shortcut = self.shortcut_norm(x, is_training=is_training)
                shortcut = self.shortcut(tf.nn.relu(shortcut))
            for norm, conv in [(self.norm1, self.conv1),
                               (self.norm2, self.conv2),
                               (self.norm3, self.conv3)]:
                x = conv(tf.nn.relu(norm(x, is_training=is_training)))
            return x + shortcut


class Stage(tf.Module):
    """Bottlenecks of one width, some followed by a non-local block.

    Args:
      in_channels, width: of the first bottleneck; its stride is 2.
      length: number of bottlenecks.
      after: those, from 0, that a non-local block follows.
      make_block: makes a `NonLocalBlock` from its width and name.
      momentum: of batch norm.
    """

    def __init__(self, in_channels, width, length, after, make_block,
                 momentum, name="stage"):
        super().__init__(name=name)
        self.steps = []
        channels = EXPANSION * width
        with self.name_scope:
            for index in range(length):
                first = index == 0
                self.steps.append(Bottleneck(
                    in_channels if first else channels, width,
                    stride=2 if first else 1, projection=first,
                    momentum=momentum, name="bottleneck_{}".format(index)))
                if index in after:
                    self.steps.append(make_block(
                        channels, name="non_local_{}".format(index)))

    def __call__(self, x, *, is_training, watch=None):
        """[B, H, W, in_channels] -> [B, ceil(H/2), ceil(W/2), 4 width]."""
        with self.name_scope:
            for step in self.steps:
                more = {"watch": watch} if isinstance(
                    step, NonLocalBlock) else {}
                x = step(x, is_training=is_training, **more)
            return x


class ResNet(tf.Module):
    """Classifier of digits: pad, stem, res2 to res5, mean, dense.

    Sizes at 224 (the stem is 7x7, stride 2; there is no max pool):
    224 -> stem 112x112x64 -> res2 56x56x256 -> res3 28x28x512
    -> res4 14x14x1024 -> res5 7x7x2048 -> mean 2048 -> logits.

    Args:
      resnet_size: 14, 50, 101 or 152.
      placement: stage -> bottlenecks followed by a non-local block; ten
        blocks of ResNet-50 by default (see `architecture.parse_placement`).
      inner_ratio: K / C of the non-local blocks.
      instantiation, sub_sample, scale, pre_norm, cosine, fused: see
        `NonLocalBlock`.
      image_size: rows and columns to which images are padded with zeros.
      momentum: of batch norm; see `layers.BatchNorm`.
      affinity_limit: see `NonLocalBlock`.
      compute_dtype: float32, bfloat16 or float16, in which all between the
        padded image and the mean over positions is computed, but for the
        softmax and batch norm's statistics; variables stay float32.
      base_width: width of res2's 3x3 convolutions; 64 in the paper. Smaller
        makes a thin network for tests.
      classes: that are told apart.
    Raises:
      ValueError: resnet_size is none of the three, or image_size < 28.
      UserError: the placement names a bottleneck that is not there.
    """

    def __init__(self, resnet_size=50, placement=None, inner_ratio=0.5,
                 instantiation="embedded_gaussian", sub_sample=False,
                 scale=False, fused=True, image_size=224, momentum=MOMENTUM,
                 base_width=64, affinity_limit=None,
                 compute_dtype=tf.float32, pre_norm=False, cosine=False,
                 classes=DIGIT_CLASSES, name="resnet"):
        super().__init__(name=name)
        if resnet_size not in DEPTHS:
            raise ValueError("resnet_size must be one of {}, not {!r}".format(
                sorted(DEPTHS), resnet_size))
        if image_size < DIGIT_SIZE:
            raise ValueError("image_size must be at least {}, not {}".format(
                DIGIT_SIZE, image_size))
        placement = PLACEMENTS[50, 10] if placement is None else placement
        check_placement(placement, resnet_size)
        self.image_size = image_size
        self.compute_dtype = tf.as_dtype(compute_dtype)

        def make_block(channels, name):
            return NonLocalBlock(
                channels, max(1, int(channels * inner_ratio)), instantiation,
                sub_sample, scale, fused, momentum, affinity_limit,
                pre_norm=pre_norm, cosine=cosine, name=name)

        with self.name_scope:
            self.stem = Conv(1, base_width, 7, 2, name="stem")
            self.stages = []
            channels = base_width
            for index, stage in enumerate(STAGES):
                width = base_width * 2 ** index
                self.stages.append(Stage(
                    channels, width, DEPTHS[resnet_size][index],
                    placement.get(stage, ()), make_block, momentum,
                    name=stage))
                channels = EXPANSION * width
            self.norm = BatchNorm(channels, momentum=momentum, name="norm")
            self.dense = Dense(channels, classes, name="dense")

    def parameters(self):
        """The number of trainable parameters."""
        return sum(variable.shape.num_elements()
                   for variable in self.trainable_variables)

    def __call__(self, images, *, is_training, watch=None):
        """Images to scores of the classes.

        Args:
          images: uint8 [B, S, S, 1], 0 to 255, or float32, 0 to 1; S at most
            image_size, to which they are padded.
          is_training: whether batch norm uses the batch's statistics.
          watch: a list that each block appends to; see `NonLocalBlock`.
        Returns:
          logits, float32 [B, classes].
        """
        with self.name_scope:
            images = pad_digits(images, self.image_size)
            x = self.stem(tf.cast(images, self.compute_dtype))
            for stage in self.stages:
                x = stage(x, is_training=is_training, watch=watch)
            x = tf.nn.relu(self.norm(x, is_training=is_training))
            x = tf.cast(x, tf.float32)
            return self.dense(tf.reduce_mean(x, axis=[1, 2]))


def pad_digits(images, image_size):
    """uint8 0..255 to float32 0..1, with zeros around, on the device.

    Args:
      images: [B, S, S, 1], S at most image_size.
    Returns:
      float32 [B, image_size, image_size, 1]; an odd rest goes to the bottom
      and to the right.
    """
    if images.dtype == tf.uint8:
        images = tf.cast(images, tf.float32) / 255.0
    rest = image_size - images.shape.as_list()[1]
    if rest:
        sides = [rest // 2, rest - rest // 2]
        images = tf.pad(images, [[0, 0], sides, sides, [0, 0]])
    return images
