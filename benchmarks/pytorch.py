"""PyTorch's side of the benchmarks, as fast as PyTorch runs without a compiler.

That is: channels last in memory, tokens as views, ReLU and sums in place, the
fused Adam, autocast for bfloat16, and denormals flushed to zero. TensorFlow
flushes them too; a softmax is full of them, and with them PyTorch would take
three to four times as long for this network.
"""

import functools

import torch
from torch.nn import functional

from benchmarks import pytorch_network, pytorch_video
from nonlocal_tf.protocols import PROTOCOLS, trunk


def prepare(threads):
    """Before the first operation: threads take over how denormals go."""
    torch.set_flush_denormal(True)
    torch.set_num_threads(threads)


def network(values, trainable, config):
    """Our variables as PyTorch has them, and its network for a `TrainConfig`.

    Called with those, images or clips, and `is_training`.
    """
    if config.network == "digits":
        return pytorch_network.tensors(values, trainable), functools.partial(
            pytorch_network.network, image_size=config.image_size)
    row = trunk(config.protocol, config.network, config.frames,
                config.frame_interval)
    return pytorch_video.tensors(
        values, trainable, row.stem_taps), functools.partial(
            pytorch_video.network, protocol=PROTOCOLS[config.protocol],
            row=row, placement=config.placement(), form=config.instantiation)


class TrainStep:
    """A call is one step: forward, backward, Adam, as ours.

    Args:
      values, trainable: the first weights by our names, and which are trained.
      images, labels: uint8 [B, 28, 28, 1] or clips, and int32 [B], fed at each
        call.
      config: a `TrainConfig`; its bfloat16 is autocast here.

    Attributes:
      first_loss: of the first call.
    """

    def __init__(self, values, trainable, images, labels, config):
        self.first_loss = None
        self._weights, self._network = network(
            values, set(trainable), config)
        self._trained = [self._weights[name] for name in trainable]
        self._fed = images, labels
        self._context = functools.partial(
            torch.autocast, "cpu", torch.bfloat16,
            enabled=config.precision == "bfloat16")
        self._optimizer = torch.optim.Adam(self._trained, 1e-4, fused=True)

    def __call__(self):
        images, labels = map(torch.from_numpy, self._fed)
        self._optimizer.zero_grad(set_to_none=True)
        with self._context():
            logits = self._network(self._weights, images, is_training=True)
            loss = functional.cross_entropy(logits.float(), labels.long())
        loss.backward()
        self._optimizer.step()
        loss = loss.item()                      # as ours is fetched
        if self.first_loss is None:
            self.first_loss = loss

    def parameters(self):
        """The number of trained parameters."""
        return sum(weight.numel() for weight in self._trained)

    def close(self):
        """As `ours.TrainStep` has it; nothing to free."""


class Classifier:
    """Called with what `frozen.samples` returns; returns logits."""

    def __init__(self, values, config):
        self._weights, self._network = network(values, (), config)

    def __call__(self, images):
        with torch.inference_mode():
            return self._network(self._weights, torch.from_numpy(images),
                                 is_training=False).numpy()


class Block:
    """A call is one block, forward and backward; arguments: `ours.Block`."""

    def __init__(self, form, values, x, gradient):
        trained = {name for name in values if "moving" not in name}
        self._form = form
        self._weights = pytorch_network.tensors(values, trained)
        self._x, self._gradient = (
            torch.from_numpy(array).permute(0, 3, 1, 2)
            for array in (x, gradient))         # a view: channels last
        self._x.requires_grad_()

    def __call__(self):
        for tensor in [self._x] + list(self._weights.values()):
            tensor.grad = None
        pytorch_network.non_local(
            self._weights, "", self._x, True, self._form).backward(
                self._gradient)

    def close(self):
        """As `ours.Block` has it; nothing to free."""
