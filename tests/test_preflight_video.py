"""Preflight of networks of clips: five dimensions, and attention's memory."""

import json

import numpy as np
import pytest
import tensorflow as tf
from support import graph_session, random_values, set_values

from nonlocal_tf.errors import UserError
from nonlocal_tf.export import graphdef
from nonlocal_tf.export.preflight import __main__ as preflight
from nonlocal_tf.export.preflight import affinity, atc, checks, trim
from nonlocal_tf.networks.video import VideoResNet
from nonlocal_tf.non_local import NonLocalBlock

tf1 = tf.compat.v1
CLIP = [2, 4, 6, 6, 8]                  # [B, T, H, W, C]


def clip(shape=CLIP):
    return tf1.placeholder(tf.float32, shape, "video")


def output(value):
    tf.identity(value, "output")


def made(build):
    """The GraphDef that `build` makes, as TensorFlow 1.15 would."""
    with tf.Graph().as_default() as graph:
        build()
        return trim.without_new(graph.as_graph_def())


def saved(build, folder):
    path = folder / "made.pb"
    path.write_bytes(made(build).SerializeToString())
    return str(path)


def kernel(*shape):
    return tf.constant(np.random.RandomState(0).randn(*shape), tf.float32)


def convolved(x, dilations=(1, 1, 1, 1, 1)):
    y = tf.nn.conv3d(x, kernel(3, 3, 3, 8, 4), [1, 1, 2, 2, 1], "SAME",
                     dilations=list(dilations))
    return tf.nn.relu(tf1.nn.bias_add(y, tf.zeros([4])))


def i3d(x):
    """C3D and I3D as people write them, with the mean over all at the end."""
    y = tf1.nn.max_pool3d(
        convolved(x), [1, 1, 3, 3, 1], [1, 1, 2, 2, 1], "SAME")
    return tf.reduce_mean(y, [1, 2, 3])


def shift_by_slices(x):
    later = tf.pad(x[:, 1:, ..., :2], [[0, 0], [0, 1]] + [[0, 0]] * 3)
    before = tf.pad(x[:, :-1, ..., 2:4], [[0, 0], [1, 0]] + [[0, 0]] * 3)
    return tf.concat([later, before, x[..., 4:]], -1)


def shift_by_concat(x):
    part = tf.slice(x, [0, 1, 0, 0, 0], [2, 3, 6, 6, 2])
    part = tf.concat([part, tf.zeros([2, 1, 6, 6, 2])], 1)
    return tf.concat([part, tf.slice(x, [0] * 5, [2, 4, 6, 6, 6])], 4)


def shift_by_split(x):
    frames = tf.unstack(x, axis=1)
    return tf.stack(frames[1:] + [tf.zeros_like(frames[0])], 1)


def masks(x):
    """A new axis, one that is dropped, an ellipsis."""
    return x[:, 0, tf.newaxis, ..., ::2]


# Name: what is built of a clip, the expected findings' (check, level).
SHIFTS = {
    "slices": (shift_by_slices, []),
    "concat": (shift_by_concat, []),
    "split": (shift_by_split, []),
    "masks": (masks, []),
    "tile": (lambda x: tf.tile(x[:, :1], [1, 4, 1, 1, 1]) - x, []),
    "roll": (lambda x: tf.roll(x, 1, 1), [("operation", "reject")]),
    "backwards": (lambda x: x[:, ::-1], [("negative_stride", "doubt")]),
    "reverse": (lambda x: tf.reverse(x, [1]), []),
}
VOLUMES = {
    "i3d": (i3d, []),
    "dilated": (lambda x: convolved(x, (1, 1, 2, 2, 1)),
                [("dilated_conv3d", "doubt")]),
    "average": (lambda x: tf1.nn.avg_pool3d(
        x, [1, 4, 6, 6, 1], [1] * 5, "VALID"), [("avg_pool3d", "doubt")]),
}


@pytest.mark.parametrize("name", sorted(SHIFTS) + sorted(VOLUMES))
def test_findings_about_a_clip(name):
    build, expected = dict(SHIFTS, **VOLUMES)[name]
    found = checks.examine(made(lambda: output(build(clip()))))
    assert [(each.check, each.level) for each in found] == expected
    for each in found:
        assert each.level == checks.REJECT or "uncertain" in each.reason


def test_channels_first_is_read_as_well():
    def build():
        output(tf1.nn.max_pool3d(
            clip([2, 8, 4, 6, 6]), [1, 1, 1, 3, 3], [1, 1, 1, 2, 2], "SAME",
            data_format="NCDHW"))

    assert checks.examine(made(build)) == []


@pytest.mark.parametrize("given, sizes, level", [
    ("NHWC", CLIP, "reject"), ("NCHW", CLIP, "reject"),
    ("NDHWC", [2, 6, 6, 8], "reject"),
    (None, CLIP, "doubt"),
    ("ND", CLIP, None), ("NDHWC", CLIP, None), ("NCDHW", CLIP, None),
    ("NHWC", [2, 6, 6, 8], None), ("NHWC", [2, 8], None),
    (None, [2, 6, 6, 8], None)])
def test_input_format_has_as_many_letters_as_the_input(given, sizes, level):
    found = checks.examine(
        made(lambda: output(tf.nn.relu(clip(sizes)))),
        atc.Request({"video": sizes}, input_format=given))
    assert [each.level for each in found] == [level] * bool(level)
    assert all("--input_format=ND" in each.remedy for each in found)


def test_a_plain_line_does_not_doubt_the_format():
    assert checks.examine(made(lambda: output(i3d(clip())))) == []


@pytest.mark.parametrize("flags, check", [
    (["--precision_mode=must_keep_origin_dtype"], "float16_alone"),
    (["--precision_mode_v2=origin"], "float16_alone"),
    (["--soc_version=Ascend310B1"], "max_pool3d"),
    (["--precision_mode=force_fp16", "--soc_version=Ascend310P3"], None)])
def test_a_pasted_line_says_which_device_and_precision(
        flags, check, tmp_path, capsys):
    path = saved(lambda: output(i3d(clip())), tmp_path)
    line = ["atc", "--model=" + path, "--framework=3", "--json",
            "--input_shape=video:2,4,6,6,8", "--input_format=NDHWC"]
    assert preflight.main(line + flags) == 0
    report = json.loads(capsys.readouterr().out)
    assert [each["check"] for each in report["findings"]] == (
        [check] if check else [])


def attention(softmax=True, scale=1.0):
    """[2, 144, 4] x [2, 4, 36]: N of T 6 6, M of T 3 3, all by hand."""
    x = clip()
    theta = tf.reshape(tf.nn.conv3d(
        x, kernel(1, 1, 1, 8, 4), [1] * 5, "SAME"), [2, 144, 4])
    phi = tf.reshape(tf.nn.conv3d(
        x, kernel(1, 1, 1, 8, 4), [1, 1, 2, 2, 1], "SAME"), [2, 36, 4])
    scores = tf.matmul(theta, phi, transpose_b=True, name="product")
    scores = tf.multiply(scores, scale, name="scaled")
    weights = tf.nn.softmax(scores, name="weights") if softmax else (
        scores / 36)
    y = tf.matmul(weights, phi)
    output(tf.nn.softmax(tf.matmul(
        tf.reduce_mean(y, 1), kernel(4, 3)), name="answer"))


@pytest.mark.parametrize("softmax", [True, False])
def test_affinity_has_its_name_sizes_and_bytes(softmax):
    found, = affinity.matrices(
        made(lambda: attention(softmax)), atc.Request())
    assert found.name == ("weights" if softmax else "product")
    assert found.shape == [2, 144, 36] and found.softmax == softmax
    assert found.bytes(2) == 2 * 144 * 36 * 2
    assert found.bytes(4) == 2 * found.bytes(2)


def test_a_softmax_that_is_written_out_is_found():
    def build():
        x = tf.reshape(clip(), [2, 144, 8])
        scores = tf.matmul(x, x, transpose_b=True)
        powers = tf.exp(scores - tf.reduce_max(scores, 2, keepdims=True))
        output(tf.matmul(
            powers / tf.reduce_sum(powers, 2, keepdims=True), x))

    found, = affinity.matrices(made(build), atc.Request())
    assert found.shape == [2, 144, 144]


def test_an_open_batch_counts_as_one_and_as_asked():
    def build():
        x = clip([None, 36, 8])
        output(tf.matmul(tf.nn.softmax(
            tf.matmul(x, x, transpose_b=True)), x))

    graph_def = made(build)
    for request, batch in ((atc.Request(), 1), (atc.Request(
            {"video": [5, 36, 8]}), 5)):
        found, = affinity.matrices(graph_def, request)
        assert found.shape == [batch, 36, 36]


@pytest.mark.parametrize("form", [
    "gaussian", "embedded_gaussian", "dot_product", "concatenation"])
def test_each_form_of_the_block_has_one_matrix(form):
    def build():
        block = NonLocalBlock(8, instantiation=form, sub_sample=True)
        output(block(clip([2, 4, 8, 8, 8]), is_training=False))

    graph_def = made(build)                 # N = 4 8 8, M = 4 4 4, K = 4
    found, = affinity.matrices(graph_def, atc.Request(
        out_nodes=[("output", 0)]))
    # The dot product is (theta phi^T) g, or theta (phi^T g) where that is less.
    assert found.shape == [2, 256, 64] or (
        form == "dot_product" and found.shape == [2, 4, 4])


@pytest.fixture(scope="module")
def thin(shallow):
    """A network of clips of ours, small, with random weights, frozen."""
    with graph_session() as session:
        network = VideoResNet(
            "mmaction2-1.x", "tsm", classes=5, frames=4, interval=0,
            base_width=4, image_size=32,
            placement={"res3": (0,), "res4": (0,)})
        x = clip([1, 4, 32, 32, 3])
        tf.argmax(network(x, is_training=False), 1, output_type=tf.int32,
                  name="output")
        set_values(session, random_values(network.variables, 1))
        return trim.without_new(tf1.graph_util.convert_variables_to_constants(
            session, session.graph_def, ["output"]))


def test_our_network_of_clips_is_clean_and_each_block_is_listed(thin):
    request = atc.Request({"video": [1, 4, 32, 32, 3]}, [("output", 0)],
                          input_format="ND")
    assert checks.examine(thin, request) == []
    found = affinity.matrices(thin, request)
    # Stem and pool leave 8 x 8, res3 4 x 4 and res4 2 x 2; keys are pooled
    # over 1 x 2 x 2.
    assert [each.shape[1:] for each in found] == (
        [[64, 16], [16, 4]])
    assert [each.name.split("/")[-2:] for each in found[:1]] == [
        ["non_local_0", "Softmax"]]


def test_a_damaged_graph_has_a_table_or_none():
    data = np.frombuffer(made(attention).SerializeToString(), np.uint8)
    random, read = np.random.RandomState(0), 0
    for _ in range(400):
        mutated = data.copy()
        mutated[random.randint(0, len(data), 2)] = random.randint(0, 256, 2)
        try:
            graph_def = graphdef.parse(mutated.tobytes(), "x.pb")
        except UserError:
            continue
        read += 1
        assert len(affinity.matrices(graph_def, atc.Request())) <= 1
    assert read > 50
