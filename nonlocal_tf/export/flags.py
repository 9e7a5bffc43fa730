"""The flags of freeze_pb.py."""

from nonlocal_tf.command import Parser, check_ranges
from nonlocal_tf.errors import UserError
from nonlocal_tf.export import deploy

_ABOUT = """Freezes a checkpoint of train_gpu.py for Ascend's ATC, and checks
the file before it says so. Without flags, the newest checkpoint under ./output
becomes output/PB_Model/model.pb."""


def parse_flags(arguments, program):
    """The flags of freeze_pb.py as a namespace."""
    parser = Parser(program, _ABOUT)
    parser.add_argument(
        "--train_url", default="./output",
        help="folder that was trained to; its newest checkpoint is taken "
        "(default: %(default)s)")
    parser.add_argument(
        "--checkpoint", default="", help="a checkpoint, such as "
        "output/Model/model.ckpt-220, in place of the newest")
    parser.add_argument(
        "--output", default="", help="the file to write (default: "
        "PB_Model/model.pb in --train_url, or beside the checkpoint's folder)")
    parser.add_argument(
        "--batchsize", "--batch_size", type=int, default=32,
        help="images a run, fixed in the graph; 0 leaves it open (default: "
        "%(default)s)")
    parser.add_argument(
        "--input_layout", choices=deploy.LAYOUTS, default="image",
        help="image: [B, S, S, 1] in 0..1, padded beforehand; flat: [B, 784] "
        "in 0..1, padded in the graph (default: %(default)s)")
    parser.add_argument(
        "--image_size", type=int, default=0,
        help="S, in pixels (default: that of the training)")
    parser.add_argument(
        "--with_probabilities", action="store_true",
        help="a second output, probabilities:0, float32 [B, 10]")
    parser.add_argument(
        "--soc_version", default="Ascend310",
        help="the device, for the atc line (default: %(default)s)")
    parser.add_argument(
        "--check_fp16", action="store_true",
        help="also run the file with weights and results rounded to fp16, "
        "ATC's default, and say how many classes change")
    parser.add_argument(
        "--test_images", type=int, default=None,
        help="compare on that many test images; 0: on random images, without "
        "an accuracy (default: 32 at 224 pixels, more at fewer)")
    parser.add_argument(
        "--data_url", "--data_path", default="",
        help="folder with the test images (default: that of the training)")
    parser.add_argument(
        "--dataset", default="", help="name of the data set (default: that "
        "of the training)")
    flags = parser.parse(arguments)
    check_ranges(flags, ("batchsize", 0, 100000))
    if flags.test_images is not None and flags.test_images < 0:
        raise UserError("--test_images must be 0 or more; got {}.".format(
            flags.test_images))
    deploy.check_soc_version(flags.soc_version)
    return flags
