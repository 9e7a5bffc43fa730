"""Converts other systems' weights to a checkpoint, and back.

    python -m nonlocal_tf.convert FILE_OR_FOLDER --train_url DIR
    python -m nonlocal_tf.convert --to mmaction2 OUT.pth --train_url DIR
    python -m nonlocal_tf.convert --compare DUMP.npz --train_url DIR
    python -m nonlocal_tf.convert --print_dump_script mmaction2

Reads Caffe2's .pkl (video-nonlocal-net), PyTorch's .pth (mmaction2,
torchvision), Paddle's folders and .pdparams, MindSpore's .ckpt, without those
frameworks; nothing in a file is executed. What names and shapes tell is read
from them; what they cannot tell is asked for.
"""

import dataclasses
import os
import shlex
import sys

from nonlocal_tf import command
from nonlocal_tf.architecture import INSTANTIATIONS, format_placement
from nonlocal_tf.command import say
from nonlocal_tf.errors import UserError
from nonlocal_tf.protocols import PROTOCOLS, VIDEO_NETWORKS

# As what a system's weights can be run; the first where none is named.
_PROTOCOLS = {
    "caffe2": ("video-nonlocal-net",), "paddle": ("paddle",),
    "mindspore": ("mindspore",),
    "mmaction2": ("mmaction2-1.x", "mmaction2-0.x"),
    "torchvision": ("mmaction2-1.x",) + tuple(PROTOCOLS)}
_NAMED = 6                              # tensors of a kind
_FROZEN = ("video-nonlocal-net", "paddle")      # have such networks
_OUT = {"mmaction2": ("mmaction2-0.x", "mmaction2-1.x"),
        "caffe2": ("video-nonlocal-net",)}


def main(arguments):
    """Converts by command-line arguments; returns the exit code."""
    return command.run("convert", lambda: act(parse(arguments)))


def parse(arguments):
    """The flags as a namespace."""
    parser = command.Parser.of_module("nonlocal_tf.convert", __doc__)
    parser.add_argument("source", nargs="?", metavar="FILE_OR_FOLDER",
                        help="weights of another system")
    parser.add_argument(
        "--train_url", default="", help="folder of the checkpoint")
    parser.add_argument(
        "--network", choices=VIDEO_NETWORKS, help="of weights of images "
        "(torchvision's), which are inflated to it")
    parser.add_argument(
        "--protocol", choices=tuple(PROTOCOLS), help="the system as which "
        "the network is run (default: the one that the file is of; of "
        "mmaction2's mmaction2-1.x)")
    parser.add_argument("--frames", type=int, help="of a clip")
    parser.add_argument(
        "--frame_interval", type=int, help="from one frame of a clip to the "
        "next; 0: from equal segments")
    parser.add_argument(
        "--image_size", type=int, default=224, help="rows and columns that "
        "the network was trained at (default: %(default)s)")
    parser.add_argument(
        "--instantiation", choices=INSTANTIATIONS, help="of the blocks")
    parser.add_argument(
        "--scale", type=command.boolean, metavar="true|false", help="whether "
        "scores are multiplied by 1/sqrt(width) (default: as the protocol)")
    parser.add_argument(
        "--sub_sample", choices=("pool", "none"), help="whether the blocks "
        "pool their keys (default: as names tell, or the protocol)")
    parser.add_argument(
        "--non_local", help="blocks to add where the file has none; they "
        "begin as the identity (default: 0)")
    parser.add_argument(
        "--new_head", type=int, default=0, metavar="N",
        help="a new classifier of N classes in place of the file's")
    parser.add_argument(
        "--affine", action="store_true", help="fold the norms' statistics "
        "into scales and shifts, as the authors' converter does")
    parser.add_argument(
        "--class_names", default="", metavar="NAMES",
        help="kinetics400, ucf101, or a file with one name a line (default: "
        "Kinetics' where there are 400)")
    parser.add_argument(
        "--to", nargs=2, metavar=("SYSTEM", "FILE"), help="write a "
        "checkpoint's weights: mmaction2 or caffe2, and the file")
    parser.add_argument(
        "--compare", metavar="DUMP.npz", help="compare with what the other "
        "system computed, layer by layer")
    parser.add_argument(
        "--print_dump_script", metavar="SYSTEM", help="print what to run in "
        "the other system for --compare: mmaction2, caffe2, paddle or "
        "mindspore")
    flags = parser.parse(arguments)
    _check(flags)
    return flags


def _check(flags):
    asked = [flags.source, flags.to, flags.compare, flags.print_dump_script]
    if sum(each is not None for each in asked) != 1:
        raise UserError("Give one of: a file of weights, --to, --compare, "
                        "--print_dump_script. (--help shows each.)")
    if not flags.print_dump_script and not flags.train_url:
        raise UserError("--train_url must name the folder of the checkpoint "
                        "to {}.".format("write" if flags.source else "read"))
    if flags.to and flags.to[0] not in _OUT:
        raise UserError("--to must be {} and a file; got {}.".format(
            " or ".join(_OUT), flags.to[0]))
    if flags.new_head < 0 or flags.new_head == 1:
        raise UserError("--new_head must be 2 classes or more; got {}.".format(
            flags.new_head))


def act(flags):
    """Does what the flags ask for; returns the exit code."""
    if flags.print_dump_script:
        from nonlocal_tf.weights import parity
        say(parity.script(flags.print_dump_script))
        return 0
    if flags.compare:
        from nonlocal_tf.weights import parity
        return parity.compare(flags.compare, flags.train_url)
    if flags.to:
        return write_out(flags)
    return read_in(flags)


def read_in(flags):
    """Writes a checkpoint of step 0 from a file of weights."""
    from nonlocal_tf.weights import files, recognise
    from nonlocal_tf.weights.names import SYSTEMS
    tensors = {name[7:] if name.startswith("module.") else name: value
               for name, value in files.read(flags.source).tensors.items()}
    found = recognise.recognise(flags.source, tensors)
    say("{} is of {}".format(flags.source, recognise.describe(found)))
    config = settings(found, flags)
    names = class_names(flags.class_names, config.classes, config.protocol)
    _check_is_free(flags.train_url)
    from nonlocal_tf.weights import checkpoints, mapping
    optional = ("dense/",) if flags.new_head else ()
    if not found.biased:
        optional += tuple(
            "{}/non_local_{}/{}/bias".format(stage, index, part)
            for stage, after in found.traits.placement.items()
            for index in after for part in ("theta", "phi", "g", "out"))
    if not found.traits.placement:
        optional += tuple("{}/non_local_".format(stage)
                          for stage in config.placement())
    unfolded = dataclasses.replace(
        config, frozen_norm=found.frozen_norm,
        block_norm=found.block_norm if found.traits.placement
        else config.block_norm)
    if flags.new_head:
        tensors = {name: value for name, value in tensors.items()
                   if not name.startswith(
                       SYSTEMS[found.system].parts["dense"])}
    mapped = mapping.map_in(flags.source, found, tensors,
                            checkpoints.shapes(unfolded), optional)
    _say_table(mapped)
    values = mapped.values
    if flags.affine:
        values = mapping.fold(values)
    prefix = checkpoints.write(config, values, {
        "class_names": names,
        "converted": {"file": os.path.abspath(flags.source),
                      "system": found.system}})
    _say_network(config)
    say("Wrote {}".format(prefix))
    say("Classify a clip with it: {} -m nonlocal_tf.classify CLIP.npy "
        "--train_url {}".format(*map(shlex.quote, (
            command.interpreter(), flags.train_url))))
    return 0


def settings(found, flags):
    """The `TrainConfig` of a file's network and the flags.

    Raises:
      UserError: they contradict each other, or something has to be asked for.
    """
    from nonlocal_tf.training.config import TrainConfig
    network = found.network or flags.network
    if network is None:
        raise UserError(
            "--network must be {} for {!r}, whose weights are of images."
            .format(" or ".join(VIDEO_NETWORKS), flags.source))
    if flags.network and flags.network != network:
        raise UserError("--network must be {}, which {!r} is of; got {}."
                        .format(network, flags.source, flags.network))
    protocol = flags.protocol or _PROTOCOLS[found.system][0]
    if protocol not in _PROTOCOLS[found.system]:
        raise UserError("--protocol of weights of {} must be {}; got {}."
                        .format(found.system, " or ".join(
                            _PROTOCOLS[found.system]), protocol))
    if flags.affine and protocol not in _FROZEN:
        raise UserError("--affine is for networks of {}, which have frozen "
                        "norms; got {}.".format(
                            " and ".join(_FROZEN), protocol))
    placement = format_placement(found.traits.placement)
    if placement == "0":
        placement = flags.non_local or "0"
    elif flags.non_local:
        raise UserError("--non_local must be left out: {!r} has blocks, after "
                        "{}.".format(flags.source, placement))
    form = found.instantiation or flags.instantiation
    if not found.traits.placement:
        form = flags.instantiation or "embedded_gaussian"
    if form is None:
        raise UserError(
            "--instantiation must be given: a file does not tell "
            "embedded_gaussian from dot_product.")
    if flags.instantiation and flags.instantiation != form:
        raise UserError("--instantiation must be {}, which {!r} is of; got "
                        "{}.".format(form, flags.source, flags.instantiation))
    if flags.frames is None and PROTOCOLS[protocol].halving:
        raise UserError(
            "--frames must be given, of a clip, and of 32 or 128 "
            "--frame_interval: networks of {} halve time in conv1 and pool1, "
            "others do not, and a file does not tell.".format(
                " and ".join("{}x{}".format(*pair)
                             for pair in PROTOCOLS[protocol].halving)))
    classes = flags.new_head or found.classes
    if classes is None:
        raise UserError("--new_head must give the number of classes: {!r} has "
                        "no classifier.".format(flags.source))
    sub_sample = None if flags.sub_sample is None else (
        flags.sub_sample == "pool")
    if sub_sample is None and found.system in ("mmaction2", "mindspore") and (
            found.traits.placement and not found.traits.pooled):
        sub_sample = False
    chosen = {name: value for name, value in (
        ("scale", flags.scale), ("sub_sample", sub_sample),
        ("frames", flags.frames), ("frame_interval", flags.frame_interval),
    ) if value is not None}
    norm = found.block_norm if found.traits.placement else None
    if flags.affine and norm == "batch":
        norm = "affine"
    return TrainConfig(
        network=network, protocol=protocol, resnet_size=found.resnet_size,
        base_width=found.base_width, classes=classes, non_local=placement,
        instantiation=form, inner_ratio=found.inner_ratio,
        image_size=flags.image_size, block_norm=norm,
        frozen_norm=found.frozen_norm or flags.affine,
        train_url=flags.train_url, **chosen)


def class_names(text, classes, protocol):
    """The names of the classes; None where they are not known.

    Raises:
      UserError: `text` names others than there are classes.
    """
    from nonlocal_tf.data import class_names as known
    if not text:
        return known.published(protocol, classes)
    found = known.named(text)
    if len(found) != classes:
        raise UserError("--class_names must have {} names, one a class; {!r} "
                        "has {}.".format(classes, text, len(found)))
    return found


def _check_is_free(train_url):
    from nonlocal_tf.training import checkpoint_files
    folder = os.path.join(train_url, "Model")
    if checkpoint_files.steps_in(folder):
        raise UserError("--train_url must be a folder without checkpoints; "
                        "{!r} has some. Name another.".format(folder))


def _say_table(mapped):
    say("  {:14} {:>7} {:>7} {:>7}".format(
        "part", "wanted", "mapped", "missing"))
    for group in mapped.groups:
        say("  {:14} {:>7} {:>7} {:>7}".format(
            group.name, group.wanted, group.mapped, len(group.missing)))
    missing = [name for group in mapped.groups for name in group.missing]
    if missing:
        say("  new, at their start: {}".format(command.some(missing, _NAMED)))
    say("  unused: {}{}".format(
        command.some(mapped.unused, _NAMED) or "none",
        "; dropped: {} of momentum, counters and the like".format(
            mapped.dropped) if mapped.dropped else ""))


def _say_network(config):
    from nonlocal_tf.training import need
    say("{}: {} frames at an interval of {}, {} pixels, {}, scale {}, pooled "
        "keys {}; {:,} parameters, {:.1f} GFLOPs a clip".format(
            config.protocol, config.frames, config.frame_interval,
            config.image_size, config.instantiation, config.scale,
            config.sub_sample, need.parameters(config),
            need.flops_per_image(config) / 1e9))
    if config.protocol.startswith("mmaction2"):
        say("mmaction2's heavy and nopool networks, and a TSM that shifts "
            "another share of the channels, have the same names: this is none "
            "of them.")
    if config.frozen_norm and "res3" in config.placement():
        say("Norms are frozen: res3's blocks attend within four frames, as in "
            "the authors' long clips.")


def write_out(flags):
    """Writes a checkpoint's weights as another system's file."""
    from nonlocal_tf.weights import checkpoints, mapping, writers
    from nonlocal_tf.weights.names import Traits
    system, path = flags.to
    config, values = checkpoints.read(flags.train_url)
    if config.protocol not in _OUT[system]:
        raise UserError(
            "--to {} takes networks of {}; this one is of {}, and would "
            "answer otherwise there.".format(
                system, " and ".join(_OUT[system]), config.protocol))
    shift = config.network == "tsm"
    tensors = mapping.map_out(system, config.network, Traits(
        config.placement(), shift, shift and config.resnet_size > 50,
        config.sub_sample), values)
    write = {"mmaction2": writers.write_torch, "caffe2": writers.write_caffe2}
    write[system](path, tensors)
    say("Wrote {}: {} tensors of {}, {}".format(
        path, len(tensors), system, config.network))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
