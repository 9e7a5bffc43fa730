"""The network's choices as data: depths, pairwise functions, placements.

No TensorFlow here, so that the command line can check its flags without it.
"""

import re

from nonlocal_tf.errors import UserError

# MNIST's, where neither settings nor files tell others.
DIGIT_SIZE = 28                 # rows and columns of an image in the files
DIGIT_CLASSES = 10

# Bottlenecks of res2, res3, res4, res5 by depth (arXiv:1512.03385, Table 1);
# 14 is no network of a paper: the least of this kind, for trials.
DEPTHS = {14: (1, 1, 1, 1), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3),
          152: (3, 8, 36, 3)}

STAGES = ("res2", "res3", "res4", "res5")
EXPANSION = 4                   # a bottleneck's output over its inner width

INSTANTIATIONS = (
    "embedded_gaussian", "gaussian", "dot_product", "concatenation")

# What a block has beyond the paper's; see `NonLocalBlock`.
BLOCKS = {
    "pre_norm_cosine": {"pre_norm": True, "cosine": True},
    "pre_norm": {"pre_norm": True},
    "cosine": {"cosine": True},
    "paper": {},
}

# Stage -> the bottlenecks (from 0) after which a block stands.
# Ten blocks of ResNet-50: all of res3 and res4 (paper, Sec. 5.1). Five: every
# other one. One: right before the last bottleneck of res4. Five blocks of
# ResNet-101: the authors' code. For the other counts of 101 and 152 no source
# has a rule; five and ten are as many in each stage as in ResNet-50, evenly
# spaced, the last at the stage's end, which on ResNet-50 gives the rule above.
PLACEMENTS = {
    (14, 0): {},
    (14, 1): {"res4": (0,)},
    (50, 0): {},
    (50, 1): {"res4": (4,)},
    (50, 5): {"res3": (1, 3), "res4": (1, 3, 5)},
    (50, 10): {"res3": (0, 1, 2, 3), "res4": (0, 1, 2, 3, 4, 5)},
    (101, 0): {},
    (101, 1): {"res4": (21,)},
    (101, 5): {"res3": (1, 3), "res4": (6, 13, 20)},
    (101, 10): {"res3": (0, 1, 2, 3), "res4": (3, 7, 11, 15, 19, 22)},
    (152, 0): {},
    (152, 1): {"res4": (34,)},
    (152, 5): {"res3": (3, 7), "res4": (11, 23, 35)},
    (152, 10): {"res3": (1, 3, 5, 7), "res4": (5, 11, 17, 23, 29, 35)},
}


def parse_placement(text, resnet_size):
    """The placement that `text` names.

    Args:
      text: "0", "1", "5" or "10" blocks, or such as "res3:0,2;res4:1": after
        bottlenecks 0 and 2 of res3 and 1 of res4.
      resnet_size: 14, 50, 101 or 152.
    Returns:
      Stage -> ascending tuple of the bottlenecks followed by a block.
    Raises:
      UserError: `text` is neither, or names a bottleneck that is not there.
    """
    text = str(text).replace(" ", "")
    if re.match(r"^[0-9]+$", text):
        if (resnet_size, int(text)) in PLACEMENTS:
            return PLACEMENTS[resnet_size, int(text)]
        raise _unknown(text, resnet_size, "no rule for that many")
    placement = {}
    for part in text.strip(";").split(";"):
        match = re.match(r"^(res[2-5]):(\d+(?:,\d+)*)$", part)
        if not match:
            raise _unknown(text, resnet_size, "cannot read {!r}".format(part))
        stage, blocks = match.group(1), match.group(2).split(",")
        blocks = tuple(sorted(int(block) for block in blocks))
        if stage in placement or len(set(blocks)) < len(blocks):
            raise _unknown(text, resnet_size, "{!r} repeats".format(part))
        placement[stage] = blocks
    check_placement(placement, resnet_size, text)
    return placement


def check_placement(placement, resnet_size, given=None):
    """Raises UserError where a placement names what the ResNet lacks.

    Args:
      placement, resnet_size: see `parse_placement`.
      given: what the user wrote, for the error.
    """
    given = given or placement
    for stage, blocks in placement.items():
        if stage not in STAGES:
            raise _unknown(given, resnet_size, "no stage " + str(stage))
        length = DEPTHS[resnet_size][STAGES.index(stage)]
        for block in blocks:
            if not 0 <= block < length:
                raise _unknown(
                    given, resnet_size, "{} has bottlenecks 0 to {}, not "
                    "{}".format(stage, length - 1, block))


def format_placement(placement):
    """The text from which `parse_placement` makes `placement`; "0" if none."""
    return ";".join(
        "{}:{}".format(stage, ",".join(str(b) for b in placement[stage]))
        for stage in STAGES if placement.get(stage)) or "0"


def block_names(placement):
    """The blocks in the network's order, as "res3/0"."""
    return ["{}/{}".format(stage, index)
            for stage in STAGES for index in placement.get(stage, ())]


def taps(stage, index, inflated):
    """Frames of the kernel of a bottleneck's first convolution in I3D, or 1.

    All of res2, every other one of res3 and res4 from the first, of res5 from
    the second (the authors' code).
    """
    return 3 if inflated and (stage == "res2" or index % 2 == (
        stage == "res5")) else 1


def map_sides(image_size):
    """Stage -> rows and columns of its maps: stride 2 in the stem and each."""
    return {stage: -(-image_size // 2 ** place)
            for place, stage in enumerate(STAGES, 2)}


def linear_is_cheaper(width, n, m):
    """Whether theta (phi^T g) takes fewer products than (theta phi^T) g.

    K K (N + M) against 2 N M K, for K = `width`, N queries and M keys.
    """
    return width * (n + m) <= 2 * n * m


def _unknown(given, resnet_size, reason):
    return UserError(
        "--non_local must be 0 (none), 1, 5 or 10 blocks, or a placement such "
        "as 'res3:0,2;res4:1' (counted from 0), for ResNet-{}; got {!r}: {}."
        .format(resnet_size, given, reason))
