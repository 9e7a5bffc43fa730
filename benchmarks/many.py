"""Several processes that train together, beside one that has all the cores.

N processes have a share of the cores each, as --num_gpus gives them, and a
batch each; one process has all cores and N times the batch. All take turns.
The same step with the gradients' sums left out tells their share of a step,
what else runs beside them counted; the sums alone, from variables, tell what
they would take with nothing beside them. Where other work has a part of the
cores, core seconds say more than images/s. Bytes are those of the interfaces,
so that no other traffic may be there:

    unshare -n sh -c "ip link set lo up; python -m benchmarks.many"
    python -m benchmarks.many --gbit 100,10,1   # as root: slow networks
"""

import contextlib
import functools
import multiprocessing
import os
import sys
import time

from benchmarks import common, wire
from benchmarks.common import Column
from nonlocal_tf import command, processes
from nonlocal_tf.errors import UserError
from nonlocal_tf.platforms import cluster

ONE, MANY, APART = "one process", "{} processes", "without the sums"
SYNC, BFLOAT16 = "sync_batch_norm", "bfloat16 gradients"
COLUMNS = [
    Column("contender", "contender"),
    Column("images/s", "images_per_second"),
    Column("over one process", "ratio_to_one"),
    Column("share of the sums, %", "share", 100),
    Column("core ms", "core_seconds", 1000),
    Column("over one's", "core_ratio_to_one")]
SUMS_COLUMNS = [
    Column("the sums alone", "contender"), Column("ms", "seconds", 1000),
    Column("core ms", "core_seconds", 1000),
    Column("sent by each, MB", "sent", 1e-6),
    Column("over a ring's", "ratio_to_ring"),
    Column("wire's time, ms", "wire_seconds", 1000),
    Column("hidden in a step, %", "hidden", 100),
    Column("step, ms", "step_seconds", 1000),
    Column("by the model, ms", "model_seconds", 1000)]
_PORT = 2222                            # the first; of namespaces of our own


def main(arguments):
    """Runs the benchmark by its command line; returns the exit code."""
    return common.main("many", __doc__, arguments, _add_flags, _measure)


def step_seconds(apart, core, wire_seconds):
    """A step by the model: what it waits for, and what its core does.

    The first gradients are there after a third of the step, which is the
    forward pass; from then on sums and backward pass run beside each other,
    as far as the sums do not want the same core.

    Args:
      apart: seconds of the step without the sums.
      core: seconds that the sums keep a process's core busy; a GPU's none.
      wire_seconds: ring's bytes over the wire's rate, and latencies.
    """
    return max(apart + core, apart / 3 + max(core, wire_seconds))


def _add_flags(parser):
    parser.add_argument("--batch_size", "--batchsize", type=int, default=16,
                        help="of each of the processes (default: %(default)s)")
    common.add_network_flags(parser, image_size=28)
    parser.add_argument("--processes", type=int, default=2,
                        help="that train together (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=3,
                        help="of a turn (default: %(default)s)")
    parser.add_argument("--gbit", type=common.integers, default=[],
                        help="a second, of networks between two processes, "
                        "with commas between (default: loopback)")
    parser.add_argument("--buckets", type=common.integers, default="25",
                        metavar="MB", help="largest sums, with commas between; "
                        "the first of all contenders (default: %(default)s)")


def _measure(flags, report):
    command.check_ranges(
        flags, ("processes", 2, 64), ("steps", 1, 10 ** 6),
        ("batch_size", 1, 10 ** 6))
    if flags.gbit and flags.processes != 2:
        raise UserError("--gbit is between two processes; got --processes {}."
                        .format(flags.processes))
    with contextlib.ExitStack() as stack:
        names = stack.enter_context(wire.link()) if flags.gbit else []
        groups = {name: stack.enter_context(
            _group(flags, names, number, *wanted))
                  for number, (name, wanted) in enumerate(
                      _contenders(flags).items())}
        for group in groups.values():
            group.meet()
        for gbit in flags.gbit or [None]:
            if gbit:
                wire.limit(names, 1e9 * gbit)
            _take_turns(flags, groups)
            _tell(flags, report, groups, gbit)


def _take_turns(flags, groups):
    for group in groups.values():
        group.turns.clear()
    common.alternate({(name, what): group.turn(what)
                      for name, group in groups.items() if not group.error
                      for what in group.acts}, flags.rounds)


def _contenders(flags):
    """Name -> processes, settings, whether gradients are summed, MB."""
    many, first = MANY.format(flags.processes), flags.buckets[0]
    found = {
        ONE: (1, {}, True, first), many: (flags.processes, {}, True, first),
        APART: (flags.processes, {}, False, first),
        SYNC: (flags.processes, {"sync_batch_norm": True}, True, first),
        BFLOAT16: (flags.processes, {"gradient_precision": "bfloat16"}, True,
                   first)}
    found.update({"sums of {} MB".format(size): (
        flags.processes, {}, True, size) for size in flags.buckets[1:]})
    return found


@contextlib.contextmanager
def _group(flags, names, number, count, settings, summed, bucket):
    """The `_Group` of a contender; its processes end with the context."""
    if names and count > 1:
        places = [cluster.Cluster(tuple("{}:{}".format(
            wire.address(each), _PORT + number) for each in range(count)),
            rank) for rank in range(count)]
    else:
        places = cluster.several(cluster.Cluster(), count)
    context = multiprocessing.get_context("spawn")
    pipes, started = [], []
    for place in places:
        own, theirs = context.Pipe()
        pipes.append(own)
        started.append(context.Process(target=_work, daemon=True, args=(
            theirs, names, flags, place, settings, summed, bucket)))
        started[-1].start()
        theirs.close()
    try:
        yield _Group(flags, pipes)
    finally:
        for each in started:
            each.terminate()
        for each in started:
            each.join()


class _Group:
    """Processes that do the same at the same time.

    Attributes:
      error: why they cannot; None.
      acts: what they can do.
      facts: of their gradients.
      turns: what -> `(wall seconds, core seconds, bytes)` of each turn, the
        first, which warms up, included; of one step.
    """

    def __init__(self, flags, pipes):
        self._flags, self._pipes = flags, pipes
        self.turns = {}

    def meet(self):
        """Waits until all can begin."""
        self.acts, self.facts, self.error = self._answers()[0]

    def _answers(self):
        try:
            return [pipe.recv() for pipe in self._pipes]
        except EOFError:
            raise UserError("A process of the benchmark has ended; see what "
                            "it said above.")

    def turn(self, what):
        """A function that does it, and returns the seconds of a step."""
        def act():
            for pipe in self._pipes:
                pipe.send((what, self._flags.steps))
            walls, cores, sent = zip(*self._answers())
            self.turns.setdefault(what, []).append(
                (max(walls), sum(cores), sent[0]))
            return max(walls)
        return act

    def each(self, what, place):
        """One number of each turn that counts."""
        return [turn[place] for turn in self.turns[what][1:]]


def _work(pipe, names, flags, place, settings, summed, bucket):
    """What a process does: what the pipe asks of it, until it is ended."""
    os.setsid()                         # as `processes` does
    if names and place.size > 1:
        wire.enter(names[place.rank])
    os.environ.update(place.environment())
    os.sched_setaffinity(0, processes._share(place.rank, place.size))
    import tensorflow as tf

    from benchmarks import inputs, ours
    from nonlocal_tf.platforms import gpu, peers
    from nonlocal_tf.training.graph import TrainGraph
    ours.quiet()
    peers._BUCKET_BYTES = bucket * 2 ** 20
    config = ours.train_config(
        flags, threads=0, batch_size=flags.batch_size * (
            1 if place.size > 1 else flags.processes), **settings)
    try:
        platform = gpu.Platform(config)
    except UserError as error:          # no bfloat16 here
        pipe.send(((), {}, str(error)))
        return
    mean = platform.mean_over_ranks
    if not summed:
        platform.mean_over_ranks = list
    with tf.Graph().as_default():
        graph = TrainGraph(config, 10 ** 6, platform)
        trained = graph.network.trainable_variables
        acts = {"step": [graph.train_op, graph.totals]}
        if summed and place.size > 1:
            acts["sums"] = [tf.group(*mean([
                each.read_value() for each in trained]))]
        with platform.session(lambda: None) as session:
            session.run(graph.initialize)
            batch = dict(zip((graph.images, graph.labels), inputs.batch(
                config, config.batch_size)))
            pipe.send((tuple(acts), {
                "parameters": graph.network.parameters(),
                "sums": len(peers._buckets(trained))}, None))
            while True:
                what, steps = pipe.recv()
                pipe.send(_timed(functools.partial(
                    session.run, acts[what], batch), steps))


def _timed(act, steps):
    """Wall seconds, this process's core seconds and bytes sent, of a step."""
    def now():
        return time.perf_counter(), time.process_time(), wire.sent()

    began = now()
    for _ in range(steps):
        act()
    return [(after - before) / steps for before, after in zip(began, now())]


def _tell(flags, report, groups, gbit):
    where = "at {} Gbit/s".format(gbit) if gbit else "by loopback"
    rows, sums = [], []
    one = groups[ONE].each("step", 0)
    apart = groups[APART]
    images = flags.batch_size * flags.processes
    for name, group in groups.items():
        if group.error:
            rows.append({"contender": name, "missing": group.error})
            continue
        taken = group.each("step", 0)
        row = {"contender": name,
               "images_per_second": common.figure(common.rates(taken, images)),
               "ratio_to_one": common.ratio(common.rates(taken, images),
                                            common.rates(one, images)),
               "core_seconds": common.figure(group.each("step", 1)),
               "core_ratio_to_one": common.ratio(
                   group.each("step", 1), groups[ONE].each("step", 1))}
        if "sums" in group.acts and name != SYNC:
            row["share"] = common.rest(common.ratio(
                apart.each("step", 0), taken))
            sums.append(_of_sums(flags, name, group, apart, gbit))
        rows.append(row)
    report.table(
        "Train step {}: {}, {:,} parameters, {} processes, batch {} each; "
        "median of {} rounds [least..most] of {} steps; load {:.1f}".format(
            where, common.subject(flags), groups[ONE].facts["parameters"],
            flags.processes, flags.batch_size, flags.rounds, flags.steps,
            os.getloadavg()[0]), COLUMNS, rows, gbit=gbit)
    report.table("All gradients " + where, SUMS_COLUMNS, sums, gbit=gbit)


def _of_sums(flags, name, group, apart, gbit):
    """A row of the second table."""
    size = group.facts["parameters"] * (2 if name == BFLOAT16 else 4)
    ring = 2 * (flags.processes - 1) / flags.processes * size
    # Loopback has those of all.
    sent = [each / (1 if flags.gbit else flags.processes)
            for each in group.each("sums", 2)]
    alone = group.each("sums", 0)
    row = {"contender": name, **group.facts,
           "seconds": common.figure(alone),
           "core_seconds": common.figure(group.each("sums", 1)),
           "sent": common.figure(sent), "bytes": size,
           "ratio_to_ring": common.figure([each / ring for each in sent]),
           "hidden": common.figure([
               1 - (step - without) / sum_ for step, without, sum_ in zip(
                   group.each("step", 0), apart.each("step", 0), alone)])}
    if gbit:
        row.update(
            wire_seconds=8 * ring / (1e9 * gbit),
            step_seconds=common.figure(group.each("step", 0)))
        row["model_seconds"] = step_seconds(
            common.figure(apart.each("step", 0)).median,
            row["core_seconds"].median / flags.processes, row["wire_seconds"])
    return row


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
