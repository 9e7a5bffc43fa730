"""`explain` on planted matches, whose places are known."""

import base64
import functools
import json
import re
import sys

import numpy as np
import pytest
from planted import runner
from support import tf1

from nonlocal_tf import explain
from nonlocal_tf.architecture import INSTANTIATIONS
from nonlocal_tf.pages import attention


def page_data(path):
    text = path.read_text(encoding="utf-8")
    assert not re.search("https?://|src=|@import", text)
    return json.loads(re.search(
        r'<script type="application/json" id="data">(.*?)</script>', text,
        re.DOTALL).group(1))


def row_of(block, index):
    """A query's weights as the page has them, [M]."""
    counts = [axis[0] for axis in block["queries"]]
    query = np.ravel_multi_index(index, counts)
    def array(name, kind):
        return np.frombuffer(base64.b64decode(block[name]), kind)
    values = array("values", "u1").reshape(np.prod(counts), -1)[query]
    shares = (values.astype(float) - 128) / 127 if block["signed"] else (
        values / 255.0)
    return shares * array("largest", "<f4")[query]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A function of form and sub_sample: a picture's output, made once."""
    @functools.lru_cache(maxsize=None)
    def out(form, sub_sample):
        folder = tmp_path_factory.mktemp("picture")
        (folder / "out").mkdir()
        for ending in ("html", "npz", "png", "mp4"):    # of a clip before
            (folder / "out" / ("attention." + ending)).write_text("former")
        with pytest.MonkeyPatch.context() as patch:
            return runner(patch)(folder, form, sub_sample)
    return out


@pytest.mark.parametrize("form, sub_sample", [
    ("embedded_gaussian", False), ("embedded_gaussian", True),
    ("dot_product", True)])
def test_a_query_on_one_square_lights_up_the_other(
        pictures, form, sub_sample):
    """The brighter of two: at rows and columns 36 to 40 of 64 x 64."""
    out = pictures(form, sub_sample)
    data = page_data(out / "attention.html")
    with np.load(str(out / "attention.npz")) as file:
        arrays = {name: file[name] for name in file.files}
    assert [block["name"] for block in data["blocks"]] == ["res3/0", "res4/0"]
    for block in data["blocks"]:
        name = block["name"]
        exact = arrays[name + "/affinity"]
        index = (0,) + tuple(int(np.abs(arrays[
            "{}/query_{}".format(name, letter)] - 16).argmin())
            for letter in "yx")                 # the dim one's middle: 16
        row = exact[index]
        at = np.unravel_index(row.argmax(), row.shape)
        for letter, place in zip("yx", at[1:]):
            found = arrays["{}/key_{}".format(name, letter)]
            assert place == np.abs(found - 38).argmin()
        np.testing.assert_allclose(
            row_of(block, index), row.ravel(),
            atol=np.abs(row).max() / (254 if block["signed"] else 510) * 1.01)


def test_a_clip_is_lit_up_in_its_frame_of_match(tmp_path, planted):
    """C2D of 8 frames, of which 4 and 5 are one map: the match is in 5."""
    out = planted(tmp_path, "embedded_gaussian", True, clip=True)
    with np.load(str(out / "attention.npz")) as file:
        row = file["res3/0/affinity"][0, 2, 2]
        at = np.unravel_index(row.argmax(), row.shape)
        found = [file["res3/0/key_" + letter][place]
                 for letter, place in zip("tyx", at)]
    assert found[0] == 4.5
    assert np.abs(np.array(found[1:]) - 38).max() <= 8      # keys lie 16 apart
    assert {path.name for path in out.iterdir()} == {
        "attention.html", "attention.npz", "attention.png", "attention.mp4"}


def test_the_page_says_of_a_row_what_numpy_does(pictures):
    out = pictures("dot_product", True)
    block = page_data(out / "attention.html")["blocks"][0]
    with np.load(str(out / "attention.npz")) as file:
        rows = np.abs(file["res3/0/affinity"].reshape(64, 16))
    p = rows / np.maximum(rows.sum(1, keepdims=True), 1e-30)
    entropy = [-sum(x * np.log(x) for x in row if x) / np.log(16) for row in p]
    for name, expected in (("entropy", entropy),
                           ("five", np.sort(p, 1)[:, -5:].sum(1))):
        np.testing.assert_allclose(np.frombuffer(base64.b64decode(
            block[name]), "<f4"), expected, atol=1e-5)


def test_of_large_maps_the_strongest_keys_are_kept(monkeypatch):
    monkeypatch.setattr(attention, "_BYTES", 400 * 100)
    assert attention.kept_keys([(100, 400)]) == [None]
    assert attention.kept_keys([(100, 401)]) == [133]       # 3 bytes each
    # What 10 x 40 leave is the others': 19800 each.
    assert attention.kept_keys([(100, 300), (10, 40), (100, 900)]) == [
        66, None, 66]
    rows = np.random.RandomState(0).randn(3, 50)
    for row, places in zip(rows, attention.strongest(rows, 7)):
        assert places.tolist() == sorted(
            range(50), key=lambda at: -abs(row[at]))[:7]


def test_ten_blocks_at_224_are_all_kept_and_below_5_mb():
    sizes = [(784, 784)] * 4 + [(196, 196)] * 6
    assert attention.kept_keys(sizes) == [None] * 10
    assert sum(4 * n * m / 3 + 16 * n for n, m in sizes) < 4.2e6


def test_a_png_is_what_tensorflow_decodes():
    for channels in (1, 3):
        pixels = np.random.RandomState(0).randint(
            0, 256, (5, 7, channels)).astype(np.uint8)
        with tf1.Graph().as_default(), tf1.Session() as session:
            np.testing.assert_array_equal(session.run(
                tf1.image.decode_png(attention.png(pixels))), pixels)


@pytest.mark.parametrize("flag, words", [
    ("--block=res3:9", "must be one of res3:0, res4:0; got 'res3:9'"),
    ("--query=64,0", "must be a row from 0 to 63"),
    ("--query=0,3,3", "must be Y,X of a picture"),
    ("--query=a", "must be Y,X, or T,Y,X of a video")])
def test_bad_flags_are_one_line(tmp_path, planted, capsys, flag, words):
    assert planted(tmp_path, INSTANTIATIONS[0], False, flag, code=2) is None
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_without_opencv_a_picture_has_its_page_and_arrays(
        tmp_path, planted, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    out = planted(tmp_path, "embedded_gaussian", False)
    assert {path.name for path in out.iterdir()} == {
        "attention.html", "attention.npz"}
    line, = [line for line in capsys.readouterr().out.splitlines()
             if "OpenCV" in line]
    assert "pip install" in line


def test_files_of_another_input_do_not_stay(pictures):
    out = pictures("embedded_gaussian", False)
    assert {path.name for path in out.iterdir()} == {
        "attention.html", "attention.npz", "attention.png"}
    assert (out / "attention.png").read_bytes() != b"former"


def test_of_groups_the_first_is_shown_and_said(tmp_path, planted, capsys):
    """I3D: frames 0 and 1 are res3's first, so four of its maps are eight."""
    out = planted(tmp_path, "embedded_gaussian", True, clip=True,
                  frames=16, frozen_norm=True, block_norm="none",
                  network="i3d", protocol="video-nonlocal-net")
    data = page_data(out / "attention.html")
    assert data["shownFrames"] == {"res3/0": 8, "res4/0": 16}
    assert any("the first group" in note for note in data["notes"])
    assert "Of res3/0 the first 8 frames alone are shown: frame 6.5 asks in " \
        "place of 8." in capsys.readouterr().out


def test_no_input_is_refused_by_its_own_line(capsys):
    assert explain.main([]) == 2
    assert "required" in capsys.readouterr().err
