"""What tensors of five dimensions, [B, T, H, W, C], mean to ATC.

Sources: CANN's specifications of Conv3D and AvgPool3D and the tables of
products in its operators' public repositories (hicann/ops-nn, ops-math); the
headers of 2021 (graphengine, nn_calculation_ops.h); ATC's page of
--input_format and of --precision_mode. Read, not run.
"""

from nonlocal_tf.export import graphdef
from nonlocal_tf.export.preflight.operations import DOUBT, REJECT, Finding

_KEPT = ("must_keep_origin_dtype", "origin")    # modes that keep float32


def of_input(node, sizes, request):
    """Findings about the --input_format for an input of `sizes`, a list."""
    given = request.input_format
    fits = ("Give --input_format=ND, which fits any input; or {}, where it "
            "goes straight into a {}.".format(
                *(("NDHWC", "Conv3D") if len(sizes) == 5 else
                  ("NHWC", "Conv2D"))))
    if given and given != "ND" and {len(given), len(sizes)} == {4, 5}:
        return [Finding(
            REJECT, "input_format", node.name,
            "--input_format={} has {} dimensions, this input {}".format(
                given, len(given), len(sizes)), fits)]
    if not given and len(sizes) == 5 and node.name in (request.shapes or {}):
        return [Finding(
            DOUBT, "input_format", node.name,
            "an input of 5 dimensions; without --input_format atc takes NHWC, "
            "which has 4 (uncertain what it makes of it)", fits)]
    return []


def of_node(node, nodes, request):
    """Findings about one node; `nodes` are by name."""
    findings = []
    if node.op == "Conv3D" and set(node.attr["dilations"].list.i) - {1}:
        findings.append(Finding(
            DOUBT, "dilated_conv3d", node.name,
            "Conv3D with dilations: of its specifications, that of 2021 takes "
            "none, newer ones do (uncertain for yours)",
            "Look into your CANN's own; a kernel of 1 x k x k is a Conv2D of "
            "[B T, H, W, C]."))
    if node.op == "AvgPool3D":
        findings.append(Finding(
            DOUBT, "avg_pool3d", node.name,
            "AvgPool3D: specified for NDHWC and windows of at most 255 values; "
            "a newer list leaves out Atlas inference products (uncertain)",
            "Over all of T, H and W: tf.reduce_mean. Else AvgPool of "
            "[B T, H, W, C], then the mean over T."))
    if node.op == "MaxPool3D" and (request.soc_version or "").startswith(
            "Ascend310B"):
        findings.append(Finding(
            DOUBT, "max_pool3d", node.name,
            "MaxPool3D: the list of products leaves out Ascend310B (uncertain)",
            "MaxPool of [B T, H, W, C], then tf.maximum of slices of T."))
    if node.op in ("Conv3D", "AvgPool3D") and request.precision in _KEPT:
        findings.append(Finding(
            DOUBT, "float16_alone", node.name,
            "{}: float32 is kept by {}, and most AI cores have it in float16 "
            "alone: the slow AI CPU, or an error (uncertain)".format(
                node.op, request.precision),
            "--precision_mode=allow_fp32_to_fp16 keeps float32 elsewhere."))
    if node.op == "StridedSlice" and len(node.input) > 3 and min(
            graphdef.integers(nodes, node.input[3]) or [1]) < 0:
        findings.append(Finding(
            DOUBT, "negative_stride", node.name,
            "StridedSlice backwards: the public kernels for it are those of "
            "Ascend950 alone (uncertain for others)",
            "Use tf.reverse (ReverseV2), and slices with strides above 0."))
    return findings
