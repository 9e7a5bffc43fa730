"""What every trainer script does around `train`."""

from nonlocal_tf import command


def run(arguments, program, description, platform):
    """Trains by command-line arguments.

    Args:
      arguments: without the program's name.
      program, description: for --help and for errors.
      platform: name of a module in `nonlocal_tf.platforms`.
    Returns:
      The exit code: 0 done, 2 an error that the user can mend, 130 after
      Ctrl-C, 143 after SIGTERM.
    """
    def act():
        from nonlocal_tf.training.flags import parse_flags  # imports NumPy
        config = parse_flags(arguments, program, description)
        from nonlocal_tf.training.loop import train  # imports TensorFlow
        return train(config, platform).exit_code

    return command.run(program, act)
