"""Which network a file of weights is of, from names and shapes alone."""

from typing import NamedTuple, Optional

from nonlocal_tf.architecture import DEPTHS, STAGES, format_placement
from nonlocal_tf.errors import UserError
from nonlocal_tf.weights.names import SYSTEMS, Traits, theirs

_FIRST = "res2/bottleneck_0/conv1/kernel"


class Found(NamedTuple):
    """A network; None where its file does not tell."""

    system: str
    network: Optional[str]              # None: of images, to be inflated
    resnet_size: int
    base_width: int
    classes: Optional[int]              # None: without a classifier
    inner_ratio: float
    instantiation: Optional[str]
    frozen_norm: bool
    block_norm: str
    biased: bool                        # the blocks' convolutions
    traits: Traits


def recognise(path, tensors):
    """The `Found` network of tensors by their names.

    Args:
      path: of their file, for the error.
      tensors: name -> array, as `files.read` gives them.
    Raises:
      UserError: they are of no network that is known here.
    """
    probe = _Probe(path, tensors)
    stem = probe.shape("stem/conv/kernel")
    dense = probe.shape("dense/kernel")
    network = None
    if probe.traits.shift:
        network = "tsm"
    elif probe.system == "mmaction2" and len(stem) == 4:
        network = "c2d"
    elif len(stem) == 5:
        network = "i3d" if stem[2] > 1 else "c2d"
    placement = probe.traits.placement
    biased = True
    norm, inner_ratio, form = "batch", 0.5, None
    if placement:
        stage = next(iter(placement))
        scope = "{}/non_local_{}/".format(stage, placement[stage][0])
        g = probe.shape(scope + "g/kernel")
        inner_ratio = g[0] / g[1]
        norm = "affine" if probe.has(scope + "norm/gamma") else "none"
        if probe.has(scope + "norm/moving_mean"):
            norm = "batch"
        form = probe.form(scope)
        biased = probe.has(scope + "g/bias")
    frozen = not probe.has("stem/norm/moving_mean")
    return Found(
        probe.system, network, probe.resnet_size, stem[0],
        None if dense is None else dense[
            SYSTEMS[probe.system].input_major and len(dense) == 2],
        inner_ratio, form, frozen, norm, biased, probe.traits)


class _Probe:
    """Looks for parts of the network among the names of a file."""

    def __init__(self, path, tensors):
        self._tensors = tensors
        self.traits = Traits({})
        self.system = next((
            system for system in SYSTEMS if self._named(system, _FIRST)), None)
        if self.system is None and any(
                name.endswith(".conv1.conv.net.weight") for name in tensors):
            self.system = "mmaction2"
        if self.system is None:
            raise self._unknown(path, "no name of theirs is there")
        self.traits = self._traits()
        depths = [size for size, depth in DEPTHS.items() if all(
            self.has("{}/bottleneck_{}/conv1/kernel".format(stage, count - 1))
            and not self.has("{}/bottleneck_{}/conv1/kernel".format(
                stage, count)) for stage, count in zip(STAGES, depth))]
        if not depths or not self.shape("stem/conv/kernel"):
            raise self._unknown(
                path, "it is of {}, but no ResNet-{}".format(
                    self.system, " or ".join(map(str, DEPTHS))))
        self.resnet_size = depths[0]

    def _unknown(self, path, reason):
        return UserError(
            "{!r} must hold the weights of a ResNet of {}; {} (first names: "
            "{}). Give a file that one of them saved.".format(
                path, ", ".join(SYSTEMS), reason,
                ", ".join(list(self._tensors)[:4]) or "none"))

    def _traits(self):
        names = "\n".join(self._tensors)
        traits = Traits(
            {}, shift=".conv.net." in names, grouped="_group_" in names,
            affine="_affine_s" in names,
            numbered="res4b1_branch2a" in names,
            alternate=".conv.net." in names and (
                "layer1.1.conv1.conv.weight" in names))
        placement = {}
        for pooled in (True, False):
            traits = traits._replace(pooled=pooled)
            for stage in STAGES:
                after = tuple(
                    index for index in range(max(DEPTHS[152]))
                    if self._named(self.system, "{}/non_local_{}/g/kernel"
                                   .format(stage, index), traits))
                if after:
                    placement[stage] = after
            if placement:
                break
        return traits._replace(placement=placement)

    def _named(self, system, ours, traits=None):
        return theirs(system, ours, traits or self.traits) in self._tensors

    def has(self, ours):
        """Whether the file has a variable of ours."""
        return self._named(self.system, ours)

    def shape(self, ours):
        """Of theirs; None where it is not there."""
        name = theirs(self.system, ours, self.traits)
        return self._tensors[name].shape if name in self._tensors else None

    def form(self, scope):
        """Of the blocks; None: a product, with or without a softmax."""
        if self.has(scope + "theta_score/kernel"):
            return "concatenation"
        if not self.has(scope + "theta/kernel"):
            return "gaussian"
        # Paddle's code has no other.
        return "embedded_gaussian" if self.system == "paddle" else None


def describe(found):
    """One line for the console."""
    return "{}: ResNet-{}, {}width {}, {} classes, blocks after {}{}".format(
        found.system, found.resnet_size,
        found.network + ", " if found.network else "of images, ",
        found.base_width, found.classes or "no",
        format_placement(found.traits.placement),
        ", frozen norms" if found.frozen_norm else "")
