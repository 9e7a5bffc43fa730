"""The lines for atc: of both frameworks, and one for each chip."""

import pytest

from nonlocal_tf.errors import UserError
from nonlocal_tf.export import deploy


def test_atc_lines_of_both_frameworks():
    shape = [1, 8, 3, 224, 224]
    line = deploy.atc_command(
        "model.pb", shape, ["class"], "Ascend310P3", "video")
    assert line.replace(" \\\n   ", "").split() == [
        "atc", "--model=model.pb", "--framework=3", "--output=model",
        "--soc_version=Ascend310P3", "--input_shape=video:1,8,3,224,224",
        "--out_nodes=class:0", "--log=error", "--input_format=ND"]
    line = deploy.atc_command(
        "model.onnx", shape, ["class"], "Ascend310P3", "video", framework=5)
    assert line.replace(" \\\n   ", "").split() == [
        "atc", "--model=model.onnx", "--framework=5", "--output=model",
        "--soc_version=Ascend310P3", "--input_shape=video:1,8,3,224,224",
        "--log=error", "--input_format=ND"]


def test_each_device_has_a_file_of_its_own():
    names = deploy.soc_versions("Ascend310, Ascend310P3")
    assert names == ["Ascend310", "Ascend310P3"]
    stems = [deploy.om_stem("out/model.pb", name, names) for name in names]
    assert stems == ["out/model_Ascend310", "out/model_Ascend310P3"]
    assert deploy.om_stem("out/model.pb", "Ascend310", ["Ascend310"]) == (
        "out/model")
    line = deploy.atc_command(
        "out/model.pb", [1, 4], ["output"], names[1], om=stems[1])
    assert "--output=out/model_Ascend310P3 " in line


@pytest.mark.parametrize("text, message", [
    ("Ascend310,310P3", "got '310P3'"), ("Ascend310,", "got ''"),
    ("Ascend310,Ascend310", "Ascend310 twice")])
def test_devices_are_checked_one_by_one(text, message):
    with pytest.raises(UserError, match=message):
        deploy.soc_versions(text)
