"""Where a run stands within its epoch, and what it was by metrics.jsonl."""

import dataclasses
import json
from typing import Optional


@dataclasses.dataclass
class Progress:
    """Sums over the steps of an epoch; a checkpoint's JSON file holds them."""

    epoch: int = 1                      # counted from 1
    steps: int = 0                      # done in this epoch
    images: int = 0                     # of those steps
    loss_sum: float = 0.0               # of the steps' mean losses
    correct: int = 0                    # of those images
    seconds: float = 0.0                # in steps
    timed_images: int = 0               # without each process's first step
    timed_seconds: float = 0.0
    waited: float = 0.0                 # seconds for data, between steps
    test_accuracy: Optional[float] = None       # after the epoch before

    def add(self, loss, correct, images, seconds, timed, waited=0.0):
        """Counts a step; `timed`: it was not the first of its process."""
        self.waited += waited
        self.steps += 1
        self.images += images
        self.loss_sum += loss
        self.correct += correct
        self.seconds += seconds
        if timed:
            self.timed_images += images
            self.timed_seconds += seconds + waited

    def images_per_second(self):
        """Over the timed steps; None before there is one."""
        if not self.timed_seconds:
            return None
        return self.timed_images / self.timed_seconds

    def waiting(self):
        """Share of the time that went into waiting for data, 0 to 1."""
        return self.waited / max(self.waited + self.seconds, 1e-9)

    def _steps_per_second(self):
        """Over the timed steps; over all where only the first was made."""
        rate = self.images_per_second() or self.images / self.seconds
        return rate * self.steps / self.images

    def record(self):
        """Means over all images of the epoch so far, for `Reporter.epoch`."""
        return {
            "epoch": self.epoch,
            "train_images": self.images,
            "train_loss": self.loss_sum / self.steps,
            "train_accuracy": self.correct / self.images,
            "epoch_seconds": self.seconds,
            "data_seconds": self.waited,
            "images_per_second": self.images_per_second(),
            "steps_per_second": self._steps_per_second(),
        }


def read_records(path):
    """The records of a metrics.jsonl, and the numbers of damaged lines."""
    with open(path, encoding="utf-8", errors="replace") as file:
        lines = file.read().splitlines()
    found, damaged = [], []
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
            found.append(dict(record, kind=record["kind"], step=int(
                record["step"]), epoch=int(record["epoch"])))
        except (ValueError, KeyError, TypeError):
            damaged.append(str(number))
    return found, damaged
