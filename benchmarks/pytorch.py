"""PyTorch's side of the benchmarks, as fast as PyTorch runs without a compiler.

That is: channels last in memory, tokens as views, ReLU and sums in place, the
fused Adam, autocast for bfloat16, and denormals flushed to zero. TensorFlow
flushes them too; a softmax is full of them, and with them PyTorch would take
three to four times as long for this network.
"""

import contextlib

import torch
from torch.nn import functional

from benchmarks import pytorch_network


def prepare(threads):
    """Before the first operation: threads take over how denormals go."""
    torch.set_flush_denormal(True)
    torch.set_num_threads(threads)


class TrainStep:
    """A call is one step: forward, backward, Adam, as ours.

    Args:
      values, trainable: the first weights by our names, and which are trained.
      images, labels: uint8 [B, 28, 28, 1] and int32 [B], fed at each call.
      image_size: to which 28 is padded.
      precision: "float32", or "bfloat16" for autocast.

    Attributes:
      first_loss: of the first call.
    """

    def __init__(self, values, trainable, images, labels, image_size,
                 precision):
        self.first_loss = None
        self._weights = pytorch_network.tensors(values, set(trainable))
        self._trained = [self._weights[name] for name in trainable]
        self._fed = images, labels
        self._image_size = image_size
        self._context = contextlib.nullcontext if precision == "float32" else (
            lambda: torch.autocast("cpu", dtype=torch.bfloat16))
        self._optimizer = torch.optim.Adam(self._trained, 1e-4, fused=True)

    def __call__(self):
        images, labels = map(torch.from_numpy, self._fed)
        self._optimizer.zero_grad(set_to_none=True)
        with self._context():
            logits = pytorch_network.network(
                self._weights, images, self._image_size, is_training=True)
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
    """Called with padded images, float32 [B, S, S, 1]; returns logits."""

    def __init__(self, values):
        self._weights = pytorch_network.tensors(values, ())

    def __call__(self, images):
        with torch.inference_mode():
            return pytorch_network.network(
                self._weights, torch.from_numpy(images), images.shape[1],
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
