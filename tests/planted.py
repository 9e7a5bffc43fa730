"""A network that answers brightness, and inputs with two bright squares."""

import numpy as np
from support import set_values, tf1

from nonlocal_tf import explain, trained
from nonlocal_tf.architecture import DEPTHS
from nonlocal_tf.data.idx import write_idx
from nonlocal_tf.training.config import TrainConfig


def _restore(session, variables, prefix):
    """Means of what they see, for kernels: a block's scores are products."""
    del prefix
    with session.graph.as_default():
        session.run(tf1.variables_initializer(variables))
    set_values(session, {
        each: np.full(each.shape.as_list(), 1.0 if "theta" in each.op.name
                      else np.prod(each.shape.as_list()[:-1]) ** -0.5,
                      np.float32)
        for each in variables if each.op.name.endswith("kernel")})


def _squares():
    """28 x 28, which 18 zeros surround: dim at 18, bright at 36 to 40."""
    picture = np.zeros([28, 28], np.uint8)
    picture[0:3, 0:3] = 150
    picture[18:23, 18:23] = 255
    return picture


def runner(monkeypatch):
    """A function of folder, form, sub_sample, flags; the output's folder."""
    monkeypatch.setitem(DEPTHS, 50, (1, 1, 1, 1))

    def run(folder, form, sub_sample, *flags, clip=False, code=0, **settings):
        more = dict(dict(
            network="c2d", protocol="mmaction2-1.x", frames=8,
            frame_interval=8, classes=2), **settings) if clip else {}
        config = TrainConfig(
            data_url="x", train_url="x", image_size=64, base_width=2,
            non_local="res3:0;res4:0", instantiation=form, block="paper",
            sub_sample=sub_sample, **more)
        monkeypatch.setattr(trained, "find", lambda *_: trained.Checkpoint(
            "planted", 0, config, {}))
        monkeypatch.setattr(trained, "restore", _restore)
        picture = _squares()
        if clip:
            name = str(folder / "clip.npy")
            frames = np.full(
                [config.frames, 64, 64, 3], 110, np.uint8)  # below the mean
            frames[0:2, 14:19, 14:19] = 200
            frames[5, 36:41, 36:41] = 255
            np.save(name, frames)
        else:
            write_idx(str(folder / "x-idx3-ubyte"), picture[None])
            name = str(folder / "x-idx3-ubyte:0")
        found = explain.main([name, "--output", str(folder / "out")] + list(
            flags))
        assert found == code
        return None if code else folder / "out"

    return run
