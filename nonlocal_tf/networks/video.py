"""ResNets over clips, C2D, I3D and TSM, from the rows of `protocols`.

Images of all clips go through the network as [B T, H, W, C]: a 1 x k x k
convolution is a two-dimensional one over them, a k x 1 x 1 one over
[B, T, H W, C], and the stem's over frames side by side. No operation has more
than two spatial dimensions; that is quick on CPUs, and an NPU's own way.
"""

import tensorflow as tf

from nonlocal_tf.architecture import (
    DEPTHS,
    EXPANSION,
    STAGES,
    check_placement,
    taps,
)
from nonlocal_tf.layers import (
    MOMENTUM,
    Affine,
    BatchNorm,
    Conv,
    Dense,
    TemporalConv,
    log_mean_softmax,
    max_pool,
    sizes,
)
from nonlocal_tf.non_local import NonLocalBlock
from nonlocal_tf.protocols import FROZEN_GROUP, PROTOCOLS, side, trunk

tf1 = tf.compat.v1

_CLASSIFIER_STDDEV = 0.01


class Bottleneck(tf.Module):
    """1x1 (or 3x1x1), 3x3, 1x1 convolutions, each with a norm; then ReLU.

    Post-activation (arXiv:1512.03385); the stride is in the 3x3.

    Args:
      in_channels: width of the input.
      width: of the 3x3 convolution; the output is 4 times as wide.
      stride: in space, 1 or 2.
      taps: frames of the first convolution's kernel.
      shift: see `protocols.Trunk`; 0 for none.
      projection: whether the shortcut is a 1x1 convolution with a norm.
      make_norm: makes a norm from its width, name and zero_gamma.
      zero_gamma: of the last norm.
    """

    def __init__(self, in_channels, width, stride, taps, shift, projection,
                 make_norm, zero_gamma, name="bottleneck"):
        super().__init__(name=name)
        out_channels = EXPANSION * width
        self.projection = projection
        self._shift = shift
        self._temporal = taps > 1
        with self.name_scope:
            if projection:
                self.shortcut = Conv(
                    in_channels, out_channels, 1, stride, name="shortcut")
                self.shortcut_norm = make_norm(out_channels, "shortcut_norm")
            self.conv1 = TemporalConv(
                in_channels, width, taps, name="conv1") if taps > 1 else (
                Conv(in_channels, width, name="conv1"))
            self.norm1 = make_norm(width, "norm1")
            self.conv2 = Conv(width, width, 3, stride, name="conv2")
            self.norm2 = make_norm(width, "norm2")
            self.conv3 = Conv(width, out_channels, name="conv3")
            self.norm3 = make_norm(out_channels, "norm3", zero_gamma)

    def __call__(self, x, frames, *, is_training):
        """[B T, H, W, C] -> [B T, ceil(H / s), ceil(W / s), 4 width]."""
        with self.name_scope:
            shortcut = x
            if self.projection:
                shortcut = self.shortcut_norm(
                    self.shortcut(x), is_training=is_training)
            if self._shift:
                x = shifted(x, frames, self._shift)
            _, height, width, channels = sizes(x)
            if self._temporal:
                x = tf.reshape(x, [-1, frames, height * width, channels])
            x = tf.nn.relu(self.norm1(self.conv1(x), is_training=is_training))
            if self._temporal:
                x = tf.reshape(x, [-1, height, width, x.shape.as_list()[3]])
            x = tf.nn.relu(self.norm2(self.conv2(x), is_training=is_training))
            x = self.norm3(self.conv3(x), is_training=is_training)
            return tf.nn.relu(x + shortcut)


class Stem(tf.Module):
    """7x7 convolution with stride 2 over some frames, and its norm.

    `kernel` is [7, 7, taps 3, C]: taps of red, green, blue one after another.

    Args:
      taps: frames of the kernel, odd; zero frames lie before and after.
      stride: over time.
      width: C.
      norm: of the output.
    """

    def __init__(self, taps, stride, width, make_norm, name="stem"):
        super().__init__(name=name)
        self._stride, self._taps = stride, taps
        with self.name_scope:
            self.conv = Conv(3 * taps, width, 7, 2, name="conv")
            self.norm = make_norm(width, "norm")

    def __call__(self, clips, *, is_training):
        """[B, T, H, W, 3] -> [B ceil(T/s), ceil(H/2), ceil(W/2), C], T'."""
        _, frames, height, width, _ = sizes(clips)
        pad, count = self._taps // 2, -(-frames // self._stride)
        with self.name_scope:
            padded = tf.pad(clips, [[0, 0], [pad, pad]] + [[0, 0]] * 3) if (
                pad) else clips
            span = (count - 1) * self._stride + 1
            x = [padded[:, tap:tap + span:self._stride]
                 for tap in range(self._taps)]
            x = tf.concat(x, 4) if pad else x[0]
            x = tf.reshape(x, [-1, height, width, 3 * self._taps])
            return tf.nn.relu(self.norm(
                self.conv(x), is_training=is_training)), count


class VideoResNet(tf.Module):
    """Classifier of clips.

    Args:
      protocol, network: a row of `protocols`.
      resnet_size: 14, 50, 101 or 152.
      placement: stage -> bottlenecks followed by a non-local block.
      classes: number of them.
      frames: T of a clip.
      interval: frames of the video from one of the clip to the next; of some
        systems it decides whether time is halved, see `Protocol.halving`.
      image_size: rows and columns that training has; larger ones are taken
        too. Of a fully convolutional protocol they have several places.
      base_width: width of res2's 3x3 convolutions; 64 in the paper.
      instantiation, inner_ratio: of the blocks; see `NonLocalBlock`.
      block: its other arguments, in place of the row's.
      frozen_norm: norms are scales and shifts that do not learn, the blocks
        have none and their `out` starts at 0, and res3's attend within four
        frames: the authors' models of long clips.
      dropout: share of the features in training; None: the protocol's.
      seed: of dropout, a function to int64 [2]; None: another each time.
      momentum, affinity_limit, fused, compute_dtype: see `digits.ResNet`.
    Raises:
      UserError: the protocol lacks the network, or the network the placement.
    """

    def __init__(self, protocol, network, resnet_size=50, placement=None,
                 classes=400, frames=8, interval=0, image_size=224,
                 base_width=64, instantiation="embedded_gaussian",
                 inner_ratio=0.5, block=None, frozen_norm=False,
                 dropout=None, seed=None, momentum=MOMENTUM,
                 affinity_limit=None, fused=True,
                 compute_dtype=tf.float32, name="video_resnet"):
        super().__init__(name=name)
        self.protocol = PROTOCOLS[protocol]
        self.trunk = trunk(protocol, network, frames, interval)
        placement = self.trunk.five if placement is None else placement
        check_placement(placement, resnet_size)
        self.frames, self.image_size = frames, image_size
        self._dropout = self.protocol.dropout if dropout is None else dropout
        self._seed = seed
        self.compute_dtype = tf.as_dtype(compute_dtype)
        row = self.trunk

        def make_norm(channels, name, zero_gamma=False):
            if frozen_norm:
                return Affine(channels, name=name)
            return BatchNorm(channels, zero_gamma, momentum, name=name)

        def make_block(stage, channels, name):
            return NonLocalBlock(
                channels, max(1, int(channels * inner_ratio)), instantiation,
                fused=fused, momentum=momentum, affinity_limit=affinity_limit,
                name=name, **block_settings(
                    row, stage, instantiation, frozen_norm, block or {}))

        with self.name_scope:
            self.stem = Stem(row.stem_taps, row.stem_stride, base_width,
                             make_norm)
            self.stages = []
            channels = base_width
            for index, stage in enumerate(STAGES):
                width = base_width * 2 ** index
                self.stages.append(self._stage(
                    stage, channels, width, DEPTHS[resnet_size],
                    placement.get(stage, ()), make_norm, make_block))
                channels = EXPANSION * width
            self.dense = Dense(
                channels, classes, _CLASSIFIER_STDDEV, name="dense")

    def _stage(self, stage, channels, width, depths, after, make_norm,
               make_block):
        """A list of bottlenecks and blocks, named below the stage."""
        row, steps = self.trunk, []
        with tf.Module(name=stage).name_scope:
            for index in range(depths[STAGES.index(stage)]):
                first = index == 0
                steps.append(Bottleneck(
                    channels if first else EXPANSION * width, width,
                    2 if first and stage != "res2" else 1,
                    taps(stage, index, row.inflated),
                    # In deeper networks every other one is shifted.
                    row.shift if depths[2] < 23 or index % 2 == 0 else 0,
                    first, make_norm, row.zero_residual,
                    name="bottleneck_{}".format(index)))
                if index in after:
                    steps.append(make_block(
                        stage, EXPANSION * width,
                        "non_local_{}".format(index)))
        return steps

    def parameters(self):
        """The number of trainable parameters."""
        return sum(variable.shape.num_elements()
                   for variable in self.trainable_variables)

    def __call__(self, clips, *, is_training, watch=None, layers=None):
        """Clips to scores of the classes.

        Args:
          clips: uint8 [B, T, H, W, 3], red, green, blue, 0 to 255; or
            float32, already normalised as the protocol does it. T is known.
          is_training: whether norms use the batch's statistics and dropout
            is on.
          watch: a list that each block appends to; see `NonLocalBlock`.
          layers: a list to which pairs of a name and an output are appended,
            [B T, H, W, C].
        Returns:
          logits, float32 [B, classes]. Where there are several places, the
          logarithm of the mean over them of the softmax.
        """
        note = (lambda *pair: None) if layers is None else (
            lambda *pair: layers.append(pair))
        with self.name_scope:
            x = normalised(clips, self.protocol)
            x, frames = self.stem(
                tf.cast(x, self.compute_dtype), is_training=is_training)
            note("stem", x)
            x, frames = self._pool1(x, frames)
            note("pool1", x)
            for stage, steps in zip(STAGES, self.stages):
                for step in steps:
                    if isinstance(step, NonLocalBlock):
                        x = step(x, is_training=is_training, watch=watch,
                                 frames=frames)
                    else:
                        x = step(x, frames, is_training=is_training)
                    note("{}/{}".format(stage, step.name), x)
                if stage == "res2" and self.trunk.pool2:
                    x, frames = max_pool(x, frames, (2, 1, 1)), frames // 2
                    note("pool2", x)
            return self._head(tf.cast(x, tf.float32), frames, is_training)

    def _pool1(self, x, frames):
        row = self.trunk
        if row.pool1_frames > 1:
            x, frames = max_pool(x, frames, (row.pool1_frames, 1, 1)), (
                frames // row.pool1_frames)
        elif row.pool1_stride > 1:
            _, height, width, channels = sizes(x)
            x = tf.reshape(x, [-1, frames, height, width, channels])
            x = tf.reshape(x[:, ::row.pool1_stride],
                           [-1, height, width, channels])
            frames = -(-frames // row.pool1_stride)
        if row.pool1_pad:                       # zeros are least after a ReLU
            pad = [row.pool1_pad] * 2
            x = tf.pad(x, [[0, 0], pad, pad, [0, 0]])
        return tf1.nn.max_pool(
            x, [1, 3, 3, 1], [1, 2, 2, 1], "VALID"), frames

    def _head(self, x, frames, is_training):
        """[B T, H, W, C] -> logits [B, classes]."""
        _, height, width, channels = sizes(x)
        window = side(self.trunk, self.image_size)
        several = self.trunk.places and (height, width) != (window, window)
        if several:
            x = tf1.nn.avg_pool(
                x, [1, window, window, 1], [1, 1, 1, 1], "VALID")
            x = tf.reshape(x, [-1, frames] + sizes(x)[1:])
            x = tf.reduce_mean(x, 1)            # [B, h, w, C]
        else:
            x = tf.reduce_mean(x, [1, 2])
            x = tf.reshape(x, [-1, frames, channels])
            x = x if self.trunk.head_frames else tf.reduce_mean(x, 1)
        x = self._dropped(x, is_training)
        if self.trunk.head_frames:              # a mean commutes with `dense`
            x = tf.reduce_mean(x, 1)
        if not several:
            return self.dense(x)
        logits = self.dense(tf.reshape(x, [-1, channels]))
        places = x.shape.as_list()[1] * x.shape.as_list()[2]
        return log_mean_softmax(tf.reshape(
            logits, [-1, places, logits.shape.as_list()[1]]))

    def _dropped(self, x, is_training):
        """Dropout of features, and its factor outside training."""
        scaled_later = self.protocol.inference_factor != 1
        if not is_training:
            return x * (1.0 - self._dropout) if scaled_later else x
        if not self._dropout:
            return x
        random = tf1.random_uniform(tf.shape(x)) if self._seed is None else (
            tf1.random.stateless_uniform(tf.shape(x), self._seed()))
        kept = x * tf.cast(random >= self._dropout, x.dtype)
        return kept if scaled_later else kept / (1.0 - self._dropout)


def block_settings(row, stage, instantiation, frozen_norm, chosen):
    """Arguments of a `NonLocalBlock`: the row's, and those chosen over them.

    Args:
      row: a `Trunk`.
      stage: where it stands.
      instantiation: its form; the systems scale the embedded Gaussian alone.
      frozen_norm: see `VideoResNet`.
      chosen: argument -> value.
    """
    settings = dict(row.block)
    if instantiation != "embedded_gaussian" or chosen.get("cosine"):
        settings.pop("scale", None)
    if frozen_norm:
        settings.update(norm=None, zero_start="kernel", group_frames=(
            FROZEN_GROUP if stage == "res3" else None))
    return dict(settings, **chosen)


def normalised(clips, protocol):
    """uint8 [B, T, H, W, 3] as the protocol has it; float32 as it is."""
    if clips.dtype != tf.uint8:
        return clips
    return (tf.cast(clips, tf.float32) - protocol.mean) / protocol.deviation


def shifted(x, frames, divisor):
    """Moves some channels by a frame (arXiv:1811.08383, Sec. 3).

    Args:
      x: [B T, H, W, C], T = `frames`.
      divisor: C // divisor channels come from the next frame, as many from
        the one before; zeros where there is none.
    """
    _, height, width, channels = sizes(x)
    fold = channels // divisor
    clips = tf.reshape(x, [-1, frames, height * width, channels])
    # The gradient of three slices would be three maps of zeros and their sum.
    later, earlier, rest = tf.split(
        clips, [fold, fold, channels - 2 * fold], 3)
    size = [-1, frames - 1, -1, -1]
    later = tf.pad(tf.slice(later, [0, 1, 0, 0], size),
                   [[0, 0], [0, 1], [0, 0], [0, 0]])
    earlier = tf.pad(tf.slice(earlier, [0, 0, 0, 0], size),
                     [[0, 0], [1, 0], [0, 0], [0, 0]])
    return tf.reshape(tf.concat([later, earlier, rest], 3),
                      [-1, height, width, channels])
