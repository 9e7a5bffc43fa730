"""A job of ModelArts: from OBS to OBS, and its evidence whatever happens."""

import contextlib
import dataclasses
import os
import time

from nonlocal_tf import command, storage
from nonlocal_tf.errors import UserError
from nonlocal_tf.platforms import cluster, npu_options, ranks
from nonlocal_tf.training import mirror, remote_videos
from nonlocal_tf.training.console import Log


class Job:
    """Trains where the data is near, and keeps `--train_url` up to date.

    Remote folders have a copy in the cache folder. Of several processes
    rank 0 alone writes results.

    Args:
      config: a `TrainConfig`, with folders here or in OBS.
      program: its name, for errors.
    Raises:
      UserError: the settings or the environment cannot work.
    """

    def __init__(self, config, program):
        self.program = program
        self.rank = 0
        cache = config.cache_folder()
        if config.platform == "npu":
            options = npu_options.of_config(config)     # before all else
            self.rank = ranks.settle(
                os.environ, cache, options.get("session_device_id")).rank
            # The adapter reports a compiled graph at this level only.
            os.environ["TF_CPP_MIN_LOG_LEVEL"] = "0"
        else:
            self.rank = cluster.settle(os.environ).rank
            _check_no_cards(os.environ)
        self.data_url, self.train_url = config.data_folder(), config.train_url
        self.given = config
        local = {name: mirror.copy_folder(cache, name, url)
                 for name, url in (("data_url", self.data_url),
                                   ("train_url", self.train_url),
                                   ("init", config.init))
                 if storage.is_remote(url)}
        if config.network != "digits":
            local.update(remote_videos.local_settings(config, cache))
        self.config = dataclasses.replace(config, **local)
        self.results = None
        if "train_url" in local and self.rank == 0:
            storage.make_folder(local["train_url"], "--cache_dir")
            self.results = mirror.Results(self.train_url, local["train_url"])
        self._logs = os.path.join(
            cache if self.rank else self.config.train_url, "log")

    def run(self):
        """Runs the job; returns its exit code."""
        storage.make_folder(
            self._logs, "--cache_dir" if self.rank or self.results
            else "--train_url")
        path = os.path.join(self._logs, "{}-rank{}.log".format(
            time.strftime("%Y%m%d-%H%M%S"), self.rank))
        with contextlib.ExitStack() as stack:
            if self.rank == 0:
                stack.enter_context(storage.only_run_in(self.config.train_url))
            return self._run(path)

    def _run(self, path):
        """Works with a log, and pushes whatever comes."""
        code = None
        try:
            with Log(path) as log:
                code = command.run(self.program, lambda: self._work(log))
        finally:
            with command.untouched_by_signals():
                pushed = self.push()
        return code or (0 if pushed else command.USER_ERROR)

    def _work(self, log):
        for name, url in (("data", self.data_url), ("results",
                                                    self.train_url)):
            if storage.is_remote(url):
                command.say("{}: {}, here as {}".format(
                    name, url, self.config.data_url if name == "data"
                    else self.config.train_url))
        if self.results:
            self.results.fetch()
        if self.config.network != "digits":
            remote_videos.fetch(self.given, self.config)
        elif storage.is_remote(self.data_url):
            mirror.fetch_data(self.data_url, self.config.data_url,
                              required=self.config.dataset != "digits")
        from nonlocal_tf.training.loop import train  # imports TensorFlow
        result = train(self.config, saved=self._saved, output=log.text,
                       locked=True, fetch=self._fetch_init)
        if result.exit_code == 0 and self.rank == 0:
            self._freeze()
        return result.exit_code

    def _fetch_init(self):
        if storage.is_remote(self.given.init):
            mirror.fetch_checkpoint(self.given.init, self.config.init)

    def _saved(self):
        """After a checkpoint: a push that fails is made up for by the next."""
        self.push(", training goes on; the next checkpoint tries again")

    def push(self, otherwise=""):
        """Pushes results to a remote --train_url; returns whether it went."""
        if not self.results:
            return True
        began = time.monotonic()
        try:
            self.results.push()
        except UserError as error:
            command.complain("{}: error: {} (Results are safe in {}{}.)".format(
                self.program, error, self.results.folder, otherwise))
            return False
        command.say("Results are in {} ({:.1f} s)".format(
            self.train_url, time.monotonic() - began))
        return True

    def _freeze(self):
        """Writes PB_Model/model.pb of the newest checkpoint."""
        from nonlocal_tf.export import freeze
        freeze.freeze(freeze.parse_flags(
            ["--train_url", self.config.train_url, "--data_url",
             self.config.data_folder() if self.config.network == "digits"
             else self.config.test_url, "--video_root",
             self.config.video_root], self.program))


def _check_no_cards(environ):
    """A launcher of cards starts processes that know nothing of each other."""
    size = environ.get("RANK_SIZE", "").strip()
    if size not in ("", "0", "1") and not environ.get("TF_CONFIG"):
        raise UserError(
            "RANK_SIZE is {}, as for that many NPU cards, and --platform gpu "
            "takes TF_CONFIG or --num_gpus. Unset it, or give --platform npu."
            .format(size))
