"""The command line: flags to a `TrainConfig`."""

import dataclasses
import os

from absl import logging

from nonlocal_tf.command import Parser, boolean, normalised
from nonlocal_tf.errors import UserError, bad
from nonlocal_tf.platforms import ranks
from nonlocal_tf.secrets import masked_arguments
from nonlocal_tf.training import defaults
from nonlocal_tf.training.config import VIDEO, TrainConfig

# As existing commands spell them; any case and "-" for "_" is also taken.
_SHOWN_SPELLINGS = {"epoch": ["--Epoch", "--epoch"]}


def parse_flags(arguments, program, description, platform="gpu"):
    """A `TrainConfig` from command-line arguments.

    Flags may be written in any case and with "-" for "_". Those that nobody
    declared (ModelArts adds some) are named in a warning and ignored, unless
    they look like a slip of the pen.

    Args:
      arguments: without the program's name.
      program, description: for --help and for errors.
      platform: where none is given.
    Raises:
      UserError: a value cannot be read or is out of range, or an argument is
        no flag but nearly one.
      SystemExit: after --help.
    """
    parser = _make_parser(program, description)
    parser.set_defaults(platform=platform)
    typed = {normalised(argument): argument for argument in arguments}
    known, unknown = parser.parse_known_args(arguments)
    _check_unknown(unknown, parser)
    if unknown:
        logging.warning(
            "Ignored, not flags of %s: %s", program, " ".join(
                masked_arguments(typed.get(argument, argument)
                                 for argument in unknown)))
    config = TrainConfig(**vars(known))
    _check_unread(known, config)
    if known.learning_rate is None:
        config = dataclasses.replace(config, learning_rate=defaults.rate(
            config, config.protocol, ranks.processes(
                os.environ, config.platform)))
    return config


def _check_unknown(unknown, parser):
    """Raises where an argument is surely a slip: a near flag, a bare word."""
    for before, argument in zip([""] + unknown, unknown):
        near = parser.near(argument)
        if near and argument.startswith("-"):
            raise UserError("{} is no flag; did you mean {}? (--help lists "
                            "the flags.)".format(argument, near))
        if not argument.startswith("-") and not before.startswith("--"):
            raise UserError("Flags begin with --; got {!r} (--help lists the "
                            "flags; quote what has a ; in it).".format(
                                argument))


def _check_unread(known, config):
    """Refuses what was given and would change nothing."""
    for field in dataclasses.fields(TrainConfig):
        given = getattr(known, field.name)
        if field.metadata["group"] == VIDEO and config.network == "digits" and (
                given != field.default):
            raise bad(field.name, "left out of --network digits", given)
    if known.lr_steps and config.lr_schedule != "step":
        raise bad("lr_steps", "left out, or given with --lr_schedule step",
                  known.lr_steps)


def _make_parser(program, description):
    parser = Parser(program, description)
    groups = {"": parser}
    for field in dataclasses.fields(TrainConfig):
        names = _SHOWN_SPELLINGS.get(field.name, ["--" + field.name])
        names = names + ["--" + alias for alias in field.metadata["aliases"]]
        text = field.metadata["help"]
        if "default:" not in text:
            text += " (default: %(default)s)"
        default = field.default
        kind = {"type": field.type, "metavar": field.type.__name__.upper()}
        if field.type is bool:
            kind = {"type": boolean, "nargs": "?", "const": True,
                    "metavar": "true|false"}
        if field.type is tuple:
            kind = {"action": "append", "metavar": "KEY=VALUE"}
            default = []                        # argparse appends to a copy
        elif field.metadata["choices"]:
            kind["choices"] = field.metadata["choices"]
            del kind["metavar"]
        title = field.metadata["group"]
        if title not in groups:
            groups[title] = parser.add_argument_group(title)
        groups[title].add_argument(
            *names, dest=field.name, default=default, help=text, **kind)
    return parser
