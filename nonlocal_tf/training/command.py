"""What every trainer script does around `train`."""

import os
import shlex

from nonlocal_tf import command, processes
from nonlocal_tf.platforms import machine


def main(arguments):
    """Trains as train_gpu.py does; returns the exit code."""
    return run(arguments, "nonlocal-tf train", "Trains on a GPU, or on the CPU "
               "where there is none.")


def run(arguments, program, description):
    """Trains by command-line arguments, in local folders.

    Args:
      arguments: without the program's name.
      program, description: for --help and for errors.
    Returns:
      The exit code: 0 done, 2 an error that the user can mend, 130 after
      Ctrl-C, 143 after SIGTERM.
    """
    def act():
        config = _parse(arguments, program, description, "gpu")
        config.check_local()
        if config.num_gpus > 1:
            return processes.run(
                config.num_gpus, program, run, arguments, program, "")
        if config.platform == "npu":            # whose log tells if it is one
            from nonlocal_tf.training.job import Job
            return Job(config, program).run()
        from nonlocal_tf.training.loop import train  # imports TensorFlow
        result = train(config)
        if result.exit_code == 0 and result.rank == 0:
            command.say("  {:12} {} freeze_pb.py --train_url {}".format(
                "to freeze it", *map(shlex.quote, (
                    command.interpreter(), config.train_url))))
        return result.exit_code

    return command.run(program, act)


def run_job(arguments, program, description):
    """Trains as a job of ModelArts; as `run` else, and on an NPU too."""
    def act():
        config = _parse(arguments, program, description, "npu")
        if config.num_gpus > 1:
            code = processes.run(
                config.num_gpus, program, run_job, arguments, program, "")
            if code not in (0, command.INTERRUPTED, command.TERMINATED):
                push(arguments, program)        # what was killed cannot
            return code
        from nonlocal_tf.training.job import Job
        return Job(config, program).run()

    return command.run(program, act)


def push(arguments, program):
    """Pushes what a killed job has left in its cache, without training."""
    def act():
        config = _parse(arguments, program, "", "npu")
        from nonlocal_tf.training.job import Job
        return 0 if Job(config, program).push() else command.USER_ERROR

    return command.run(program, act)


def _parse(arguments, program, description, platform):
    from nonlocal_tf.training.flags import parse_flags  # imports NumPy
    config = parse_flags(arguments, program, description, platform)
    if config.platform == "gpu":
        tune(os.environ)
    return config


def tune(environ):
    """Sets what TensorFlow reads from the environment when it is imported.

    TensorFlow 2.5 to 2.8 have oneDNN and do not use it by themselves: 2.6.5
    trains five times as fast with it on an Intel processor. On others it may
    die with SIGFPE at the first convolution (seen with 2.6.5 on an AMD EPYC),
    so that their own choice is left to them. Later ones: `command.lighten`.

    Args:
      environ: as os.environ; what it has is kept.
    """
    if machine.is_intel():
        environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
