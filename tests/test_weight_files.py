"""Weight files: exactly their arrays or one line, and nothing is ever run."""

import collections
import glob
import io
import os
import pickle
import random
import resource
import struct
import subprocess
import sys
import tarfile
import zipfile

import numpy as np
import pytest

from nonlocal_tf.errors import UserError
from nonlocal_tf.weights.files import read
from nonlocal_tf.weights.writers import write_caffe2, write_torch

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
VECTORS = os.path.join(ROOT, "..", "shared", "data", "video", "vectors")
RANDOM = np.random.RandomState(0)
TENSORS = collections.OrderedDict([
    ("conv1_w", RANDOM.randn(2, 3, 1).astype(np.float32)),
    ("none", np.zeros((0, 2), np.float16)), ("scalar", np.array(-7)),
    ("flags", np.array([True, False])), ("bytes", np.arange(5, dtype="u1")),
    ("back", RANDOM.randn(3, 2).T)])


def varint(value):
    low, value = value & 127, value >> 7
    return bytes([low | 128]) + varint(value) if value else bytes([low])


def field(number, value):
    """Of a protobuf message."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def mindspore(tensors, piece=16):
    """A .ckpt, with tensors of over `piece` bytes in pieces."""
    content = b""
    for name, value in tensors.items():
        kind = {"f": "Float", "i": "Int", "u": "UInt", "b": "Bool"}[
            value.dtype.kind] + str(8 * value.itemsize)
        form = b"".join(field(1, side) for side in value.shape or (0,))
        form += field(2, kind.replace("Bool8", "Bool").encode())
        raw = value.tobytes()
        for place in range(0, max(len(raw), 1), piece):
            content += field(1, field(1, name.encode()) + field(
                2, form + field(3, raw[place:place + piece])))
    return content


def variable(value, kind):
    """A file of Paddle 1.5."""
    form = field(1, kind) + b"".join(field(2, side) for side in value.shape)
    return struct.pack("<IQIi", 0, 0, 0, len(form)) + form + value.tobytes()


def written(write, path, tensors=TENSORS):
    write(str(path), tensors)
    with open(str(path), "rb") as file:
        return file.read()


def rezipped(content, change, **options):
    """A zip with `change` made to its entries."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", **options) as archive:
        for name, data in change(entries).items():
            archive.writestr(name, data)
    return file.getvalue()


def replaced(content, old, new):
    """A file with `new` for `old` in its pickles."""
    if not content.startswith(b"PK"):
        return content.replace(old, new)
    return rezipped(content, lambda entries: dict(entries, **{
        "archive/data.pkl": entries["archive/data.pkl"].replace(old, new)}))


def legacy(content):
    """A zip of `TENSORS` in the format before PyTorch 1.6."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        index = archive.read("archive/data.pkl")
    heads = [0x1950a86a20f9469cfc6c, 1001, {"little_endian": True}]
    return b"".join(pickle.dumps(head, 2) for head in heads) + index + (
        pickle.dumps([str(key) for key in range(len(TENSORS))], 2)
        + b"".join(struct.pack("<q", value.size) + value.tobytes()
                   for value in TENSORS.values()))


def bases(folder):
    """A small file of each format: name -> content."""
    whole = written(write_torch, os.path.join(str(folder), "base"))
    return {
        "zip": whole, "legacy": legacy(whole),
        "caffe2": written(write_caffe2, os.path.join(str(folder), "base")),
        "paddle": pickle.dumps({"a_weights": TENSORS["conv1_w"],
                                "b": ("b", TENSORS["back"])}, 2),
        "variable": variable(TENSORS["conv1_w"], 5),
        "mindspore": mindspore(TENSORS)}


def put(folder, content, name="file"):
    """Writes a file, and gives its path, or the folder's for a variable."""
    with open(os.path.join(str(folder), name), "wb") as file:
        file.write(content)
    return str(folder) if name == "variable" else file.name


def same(tensors, expected):
    """Compares names in order, types, shapes and bits."""
    assert list(tensors) == list(expected)
    for name, value in tensors.items():
        wanted = np.asarray(expected[name])
        assert value.dtype == wanted.dtype and value.dtype.isnative
        assert value.shape == wanted.shape and value.flags.writeable
        assert value.tobytes() == wanted.tobytes()


def refused(path):
    with pytest.raises(UserError) as caught:
        read(path)
    line = str(caught.value)
    assert "\n" not in line and repr(path) in line and len(line) < 1000
    return line


@pytest.mark.parametrize("form", ["zip", "legacy", "caffe2", "mindspore"])
def test_content_decides_and_arrays_are_those_written(form, tmp_path):
    stored = read(put(tmp_path, bases(tmp_path)[form], "file.npz"))
    assert stored.format == {"zip": "torch", "legacy": "torch"}.get(form, form)
    same(stored.tensors, TENSORS)


@pytest.mark.parametrize("form", ["zip", "legacy"])
@pytest.mark.parametrize("name", [b"model", b"model_state_dict"])
def test_pytorch_s_weights_may_have_another_name(form, name, tmp_path):
    before, after = (struct.pack("<cI", b"X", len(each)) + each
                     for each in (b"state_dict", name))
    content = replaced(bases(tmp_path)[form], before, after)
    same(read(put(tmp_path, content)).tensors, TENSORS)


def test_zip_may_be_deflated_big_endian_and_named_anything(tmp_path):
    def change(entries):
        return {name.replace("archive", "x"): data[::-1] if "data/5" in name
                else b"big" if "order" in name else data
                for name, data in entries.items()}

    content = rezipped(bases(tmp_path)["zip"], change,
                       compression=zipfile.ZIP_DEFLATED)
    back = read(put(tmp_path, content)).tensors["back"]
    np.testing.assert_array_equal(back, TENSORS["back"][::-1, ::-1])


def test_python_2_s_first_protocol(tmp_path):
    content = (                         # Python 2.7's pickle.dumps(..., 0)
        b"(dp0\nS'lr'\np1\nF0.25\nsS'blobs'\np2\n(dp3\nS'conv1_w'\np4\ncnumpy."
        b"core.multiarray\n_reconstruct\np5\n(cnumpy\nndarray\np6\n(I0\ntp7\n"
        b"S'b'\np8\ntp9\nRp10\n(I1\n(I1\nI2\ntp11\ncnumpy\ndtype\np12\n(S'f4'\n"
        b"p13\nI0\nI1\ntp14\nRp15\n(I3\nS'<'\np16\nNNNI-1\nI-1\nI0\ntp17\nbI00"
        b"\nS'\\x00\\x00\\xc0?\\x00\\x00\\x00\\xc0'\np18\ntp19\nbssS'n'\np20\n"
        b"L12L\ns.")
    same(read(put(tmp_path, content)).tensors,
         {"conv1_w": np.array([[1.5, -2]], np.float32)})


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_python_3_pickles(protocol, tmp_path):
    values = dict(TENSORS, lr=0.1, big=TENSORS["back"].astype(">f4"),
                  item=np.float32(3), step=np.array([2**40]))
    for top in values, {"blobs": values}, {b"blobs": {
            name.encode(): value for name, value in values.items()}}:
        stored = read(put(tmp_path, pickle.dumps(top, protocol)))
        assert stored.format == "caffe2"
        expected = dict(values, big=TENSORS["back"].astype("f4"))
        del expected["lr"]                             # no array
        same(stored.tensors, expected)


def test_pdparams_has_arrays_or_pairs(tmp_path):
    class Tensor:
        def __reduce__(self):
            return tuple, (("name", TENSORS["back"]),)

    content = pickle.dumps({"a_weights": Tensor(), "b": TENSORS["conv1_w"],
                            "StructuredToParameterName@@": {"a": "b"}}, 2)
    for name in "any", "x.pdparams":
        stored = read(put(tmp_path, content, name))
        assert stored.format == "paddle"
        same(stored.tensors, {
            "a_weights": TENSORS["back"], "b": TENSORS["conv1_w"]})
    same(read(str(tmp_path)).tensors, stored.tensors)


def test_folder_has_a_file_per_variable(tmp_path):
    kinds = {"bytes": 20, "conv1_w": 5, "none": 4, "scalar": 3}
    for name, kind in kinds.items():
        put(tmp_path, variable(TENSORS[name], kind), name)
    put(tmp_path, b"a program", "__model__")
    stored = read(str(tmp_path))
    assert stored.format == "paddle"
    same(stored.tensors, {name: TENSORS[name] for name in kinds})
    put(tmp_path, b"notes", "readme")
    assert "'readme': " in refused(str(tmp_path))


@pytest.mark.parametrize("zipped", [True, False])
def test_pytorch_s_own_files(zipped, tmp_path):
    torch = pytest.importorskip("torch")
    base = torch.arange(24.).reshape(4, 6)
    state = collections.OrderedDict([
        ("base", base), ("view", base[1:3, ::2]), ("turned", base.t()),
        ("expanded", base[:1, :1].expand(3, 2)), ("empty", base[:0]),
        ("scalar", torch.tensor(5)),
        ("parameter", torch.nn.Parameter(torch.randn(3)))] + [
            (str(kind), torch.randn(5).mul(9).to(kind)) for kind in (
                torch.bfloat16, torch.float16, torch.float64, torch.uint8,
                torch.int8, torch.int16, torch.int32, torch.bool)])
    state._metadata = {"": {"version": 1}}
    expected = {name: value.detach().float().numpy()
                if value.dtype == torch.bfloat16 else value.detach().numpy()
                for name, value in state.items()}
    meta = {"epoch": 3, "hooks": [random.Random(0), {(1, 2): print}],
            "array": np.array([None, "x"], object), "set": {1}}
    path = str(tmp_path / "x.pth")
    for top in state, {"meta": meta, "state_dict": state, "complex": 1j}:
        torch.save(top, path, _use_new_zipfile_serialization=zipped)
        stored = read(path)
        assert stored.format == "torch"
        same(stored.tensors, expected)
        stored.tensors["base"][:] = 0                  # shares no memory
        assert stored.tensors["view"].all()


def test_pytorch_reads_what_is_written(tmp_path):
    torch = pytest.importorskip("torch")
    path = str(tmp_path / "x.pth")
    write_torch(path, dict(TENSORS, big=np.array([1.5], ">f8")))
    whole = torch.load(path, weights_only=True)
    assert whole["meta"] == {}
    same({name: value.numpy() for name, value in whole["state_dict"].items()},
         dict(TENSORS, big=np.array([1.5])))


def test_pickle_reads_what_is_written(tmp_path):
    content = written(write_caffe2, tmp_path / "x.pkl")
    assert b"numpy._core" not in content               # unknown to Python 2
    same(pickle.loads(content, encoding="latin1")["blobs"], TENSORS)


def test_writing_to_no_folder_is_one_line(tmp_path):
    for write in write_caffe2, write_torch:
        with pytest.raises(UserError, match="must be written, but: No such"):
            write(str(tmp_path / "none" / "x"), TENSORS)


@pytest.mark.skipif(
    not os.path.isdir(VECTORS), reason="no files of the systems beside it")
@pytest.mark.parametrize("name, form", [
    ("c2_i3d_nl_8.pkl", "caffe2"), ("c2_i3d_nl_32_affine.pkl", "caffe2"),
    ("mma_c2d.pth", "torch"), ("mma_i3d_nl_emb.pth", "torch"),
    ("mma_tsm_nl_dot.pth", "torch"), ("paddle_c2d_nl_valid.pdparams", "paddle"),
    ("paddle_c2d_nl_valid_folder.tar", "paddle"),
    ("mindspore_nonlocal3d.ckpt", "mindspore")])
def test_the_systems_own_files(name, form, tmp_path):
    path = os.path.join(VECTORS, name)
    if name.endswith(".tar"):
        with tarfile.open(path) as archive:
            archive.extractall(str(tmp_path))
        path, = glob.glob(str(tmp_path / "*"))
    stored = read(path)
    assert stored.format == form
    vectors = os.path.splitext(name)[0].replace("_folder", "") + ".npz"
    with np.load(os.path.join(VECTORS, vectors)) as truth:
        names = [key[6:] for key in truth.files if key.startswith("param/")]
        assert len(names) > 200
        same({key: stored.tensors[key] for key in names},
             {key: truth["param/" + key] for key in names})


@pytest.mark.parametrize("content, found", [
    (b"", "begins with b''"), (b"<!DOCTYPE html>", "begins with b'<!DOCTYPE"),
    (b"\x80\x02N.", "else than arrays"), (b"\x80\x02}.", "no array"),
    (b"\x80\x02(", "cut off"), (b"PK\3\4", "not a zip"),
    (b"\n\xff\xff\xff\xff\x0f", "cut off"), (b"\x80\x02\x82.", "no opcode"),
    (pickle.dumps({"a": np.array([None])}), "has the type 'O8'"),
    (pickle.dumps({"a": np.array(["x"])}), "'a': an array has the type 'U1'")])
def test_what_is_no_weight_file_is_one_line(content, found, tmp_path):
    assert found in refused(put(tmp_path, content))


def test_a_path_that_is_not_there_is_one_line(tmp_path):
    assert "no such file" in refused(str(tmp_path / "none"))
    assert "no files" in refused(str(tmp_path))


def attacks(marker):
    """Pickled values that make the folder `marker` where they are run."""
    def text(value):
        return b"X" + struct.pack("<I", len(value)) + value.encode()

    class Reduced:
        def __reduce__(self):
            return os.mkdir, (marker,)

    code = text("__import__('os').mkdir({!r})".format(marker))
    whole = b"cos\nmkdir\n" + text(marker) + b"\x85R"
    return {
        "global": whole.replace(b"cos", b"cposix"),
        "stack": b"\x8c\x02os\x8c\x05mkdir\x93" + text(marker) + b"\x85R",
        "inst": b"(" + text(marker) + b"ios\nmkdir\n",
        "obj": b"(cos\nmkdir\n" + text(marker) + b"o",
        "eval": b"c__builtin__\neval\n" + code + b"\x85R",
        "loads": b"cpickle\nloads\nB" + struct.pack("<I", len(whole) + 1)
                 + whole + b"." + b"\x85R",
        "state": b"cfunctools\npartial\ncos\nmkdir\n\x85R(cos\nmkdir\n"
                 + text(marker) + b"\x85}Ntb)R",
        "new": b"cbuiltins\nmap\ncos\nmkdir\n]" + text(marker) + b"a\x86\x81"
               b"cbuiltins\nlist\n(cbuiltins\nmap\ncos\nmkdir\n]" + text(marker)
               + b"a\x86\x81tR",
        "reduce": pickle.dumps(Reduced(), 2)[2:-1]}


@pytest.mark.parametrize("form", ["zip", "legacy", "caffe2", "paddle"])
@pytest.mark.parametrize("attack", sorted(attacks("")))
def test_nothing_is_run(attack, form, tmp_path):
    marker = str(tmp_path / "marker")
    values = attacks(marker)[attack] + b"0"
    if attack not in ("obj", "new"):                   # harmless as they are
        pickle.loads(b"\x80\x02" + values + b"N.")
        os.rmdir(marker)                               # so the attack is real

    path = put(tmp_path, replaced(
        bases(tmp_path)[form], b"\x80\x02", b"\x80\x02" + values))
    if attack in ("inst", "obj"):
        assert "no opcode" in refused(path)
    else:
        assert read(path).tensors
    assert not os.path.exists(marker)


@pytest.mark.parametrize("values", [
    b"cx\ny\n)R}b", b"cx\ny\n)\x81N}\x86b", b"cx\ny\n)}\x92}b", b"cx\ny\n(NNe",
    b"cx\ny\n)R(NNu", b"cx\ny\nNNs", b"cx\ny\n]a", b"N)R", b"\x8f(N\x90",
    b"(N\x91", b"cos\nsystem\n}X\x01\0\0\0a)sb", b"cnumpy\nload\nC\1a\x85R",
    b"ccollections\nOrderedDict\n)R}X\x05\0\0\0itemsNsb", b"}(N)Nu", b"(N)d",
    b"cnumpy\nndarray\n(KdKdtR", b"cnumpy.core.multiarray\n_reconstruct\n"
    b"cnumpy\nndarray\nJ\xff\xff\xff\x7f\x85C\1b\x87R"])
def test_objects_of_other_classes_are_left_alone(values, tmp_path):
    content = bases(tmp_path)["caffe2"].replace(
        b"\x80\x02", b"\x80\x02" + values + b"0")
    same(read(put(tmp_path, content)).tensors, TENSORS)


def bombs_of_arrays(folder):
    """Small files whose arrays claim, or would take, very much."""
    base = bases(folder)
    whole, blobs = base["zip"], base["caffe2"]
    shape = b"K\x02K\x03K\x01\x87"                     # of conv1_w
    for huge in (b"\x8a\x08" + struct.pack("<q", 2**60) + b"K\x00K\x01\x87",
                 b"J\xff\xff\xff\xffK\x06J\xff\xff\xff\xff\x87",
                 b"(" + b"K\x01" * 64 + b"t",
                 b"(" + b"J\0\0\0\x40" * 32 + b"t"):
        for content in whole, blobs:
            yield replaced(content, shape, huge)
    for sides, strides in ((b"J\0\0\x10\0" * 2, b"K\x00K\x00K\x00\x87"),
                           (b"K\x02K\x03", b"J\xff\xff\xff\xffK\x01K\x01\x87"),
                           (b"K\x02K\x03", b"K\x06K\x03K\x01\x87")):
        yield replaced(replaced(whole, b"K\x03K\x01K\x01\x87", strides),
                       shape, sides + b"K\x01\x87")
    name = b"".join(b"X\x06\0\0\0%06dh\x00" % n for n in range(20000))
    array = pickle.dumps(np.zeros(2**18), 2)[2:-1]
    yield b"\x80\x02" + array + b"q\x000}(" + name + b"u."
    yield rezipped(whole, lambda entries: dict(
        entries, bomb=bytes(2**28)), compression=zipfile.ZIP_DEFLATED,
        compresslevel=1)
    yield field(1, field(1, b"a") + field(2, field(1, 2**60) + field(
        2, b"Float32") + field(3, b"1234")))
    yield field(1, field(1, b"a") + field(2, field(1, 1) * 2**23))
    yield field(1, b"") * 2**20


def bombs_of_pickles():
    """Small files that claim, or would take, very much by opcodes alone."""
    start = b"\x80\x02}X\x01\0\0\0a"
    array = b"cnumpy.core.multiarray\n_reconstruct\nq\x000"
    yield start + b"Nr\xff\xff\xff\xffs."
    yield start + b")" + b"\x85" * 500000 + b"s."
    yield start + array + b"h\x00)R" * 100000 + b"b" * 99999 + b"s."
    yield start + b"}" * 2**24
    for code, layout in ((b"\x8e", "<Q"), (b"\x96", "<Q"), (b"\x8d", "<Q"),
                         (b"B", "<I"), (b"X", "<I"), (b"T", "<i"),
                         (b"\x8b", "<i"), (b"\x95", "<Q")):
        yield start + code + struct.pack(layout, 2**31 - 1) + b"s."
        yield start + code + b"\xff" * 8 + b"s."
    yield start + b"L" + b"9" * 2000000 + b"L\ns."
    yield start + b"p" + b"9" * 2000000 + b"\ns."
    pair = b")q\x00" + b"h\x00h\x00\x86q\x00" * 200
    yield b"\x80\x02" + pair + b"}h\x00Ns."            # its hash takes for ever
    yield b"\x80\x02" + pair + b"h\x00\x93."
    yield b"\x80\x02" + pair + b"cnumpy\ndtype\nh\x00\x85R."
    yield b"\x80\x02]q\x00(" + b"X\0\0\0\0N\x86" * 9999 + b"e0" + (
        b"ccollections\nOrderedDict\nh\x00\x85R") * 50000 + b"."
    yield b"\x80\x02B\0\0\x10\0" + b"a" * 2**20 + b"q\x000" + (
        b"}h\x00Ns") * 200000 + b"."


def mutated(chance, content):
    """A copy with one to three kinds of damage."""
    content = bytearray(content)
    for _ in range(chance.randint(1, 3)):
        place = chance.randrange(len(content) + 1)
        end = place + chance.choice((1, 2, 4, 8, 40))
        kind = chance.randrange(6)
        if kind == 0:
            content[place:place + 1] = bytes([chance.randrange(256)])
        elif kind == 1 and place < len(content):
            content[place] ^= 1 << chance.randrange(8)
        elif kind == 2:
            content[place:place] = chance.choice(
                (b"\xff" * 8, b"\0" * 4, b"\x7f", content[place:end] * 3))
        elif kind == 3:
            del content[place:end if chance.random() < .8 else None]
        elif kind == 4:
            content[place:place + 1] = bytes([chance.choice(
                b"(.012NIJKLMGSTUBCVX)]}tlduseabcRQqrhjpg\x80\x81\x85\x86\x87"
                b"\x8a\x8c\x8e\x92\x93\x94\x95\x96")])
        else:
            other = chance.randrange(len(content) + 1)
            content[place:end] = content[other:other + 8]
    return bytes(content)


def survives(folder, count):
    """Run in a process of its own: reads what is damaged within limits."""
    with open("/proc/self/statm") as file:
        taken = int(file.read().split()[0]) * resource.getpagesize()
    files = [("file", content) for bombs in (
        bombs_of_arrays(folder), bombs_of_pickles()) for content in bombs]
    chance = random.Random(0)

    def inside(entries):                # else a checksum sees all damage
        return {name: mutated(chance, data) if name.endswith("pkl") else data
                for name, data in entries.items()}

    for name, content in sorted(bases(folder).items()):
        files += [(name, mutated(chance, content)) for _ in range(count)]
        if name == "zip":
            files += [(name, rezipped(content, inside)) for _ in range(count)]
    resource.setrlimit(resource.RLIMIT_AS, (taken + 2**30,) * 2)
    os.mkdir(os.path.join(folder, "fuzz"))
    for name, content in files:
        path = put(os.path.join(folder, "fuzz"), content, name)
        resource.setrlimit(resource.RLIMIT_CPU, (
            int(sum(os.times()[:2])) + 6, resource.RLIM_INFINITY))
        try:
            read(path)
        except UserError as error:
            assert "MemoryError" not in str(error), str(error)
            assert "\n" not in str(error), str(error)
        os.remove(os.path.join(folder, "fuzz", name))


@pytest.mark.parametrize("count", [
    40, pytest.param(2000, marks=pytest.mark.slow)])
def test_damage_and_bombs_are_one_line(count, tmp_path):
    code = "import test_weight_files as test; test.survives({!r}, {})"
    done = subprocess.run(
        [sys.executable, "-c", code.format(str(tmp_path), count)],
        env=dict(os.environ, PYTHONPATH=os.pathsep.join([ROOT, HERE]),
                 OPENBLAS_NUM_THREADS="1"),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout.decode()[-2000:]
