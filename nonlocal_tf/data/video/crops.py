"""Where systems cut squares out of resized frames."""

from nonlocal_tf.errors import UserError

_ORDERS = {"left middle right": (0, 1, 2), "left right middle": (0, 2, 1)}
# Quarters of the room to the left and above: 5 places, then TSM's 8 more.
_PLACES = ((0, 0), (4, 0), (0, 4), (4, 4), (2, 2),
           (0, 2), (4, 2), (2, 4), (2, 0), (1, 1), (3, 1), (1, 3), (3, 3))


def test_crops(views, width, height):
    """The crops of a test, in the system's order.

    Three lie along the height if there is room, else along the width, at 0,
    half and twice half of it, rounded down: of odd room a column is never
    seen. mmaction2, which wants one side to fit, has the same. Five are corners
    and centre; of ten each is followed by its mirror image.

    Args:
      views: `protocols.Views`.
      width, height: of the frames.
    Returns:
      [(x, y, mirrored)].
    Raises:
      UserError: a crop is larger than the frames.
    """
    x, y = _room(views.crop_size, width, height)
    if views.crops >= 5:
        return [(a * (x // 4), b * (y // 4), mirrored) for a, b in _PLACES[:5]
                for mirrored in (False, True)[:views.crops // 5]]
    x, y = x // 2, y // 2
    if views.crops == 1:
        return [(x, y, False)]
    return [(x, y * k, False) if y else (x * k, 0, False)
            for k in _ORDERS[views.crop_order]]


def train_crop(rule, size, width, height, random):
    """The crop of a training clip; larger or smaller ones are resized.

    Args:
      rule: `protocols.TrainCrop`.
      size: side of what the network takes.
      width, height: of the frames.
      random: RandomState.
    Returns:
      x, y, width, height of the crop.
    Raises:
      UserError: the frames are smaller than `size`.
    """
    x, y = _room(size, width, height)
    if not rule.scales:
        ends = [max(room + 1 - rule.open_end, 1) for room in (x, y)]
        return random.randint(ends[0]), random.randint(ends[1]), size, size
    sides = [int(min(width, height) * scale) for scale in rule.scales]
    sides = [size if abs(side - size) < 3 else side for side in sides]
    pairs = [(w, h) for i, h in enumerate(sides) for j, w in enumerate(sides)
             if abs(i - j) <= rule.gap]
    w, h = pairs[random.randint(len(pairs))]
    a, b = _PLACES[random.randint(rule.places)]
    return a * ((width - w) // 4), b * ((height - h) // 4), w, h


def _room(size, width, height):
    if min(width, height) < size:
        raise UserError(
            "Crops of {} pixels need frames of that size; they are {} x {}. "
            "Resize to a longer short side, or take smaller crops.".format(
                size, width, height))
    return width - size, height - size
