"""What the loss of a process has to count, so that any number of processes learns what one would."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LossWeights:
    """How the images of an epoch are dealt out: one by one to the processes in turn, then into batches.

    The trainer averages over processes and over accumulated batches as if all were of one size. At the end of an epoch
    they are not: a process may have fewer images than another, or has been given one a second time to keep it busy,
    and the last step may have fewer batches than those before it. The weight of a batch makes up for that.

    Attributes:
        images: In an epoch.
        batch_size: Images of a batch of one process.
        processes: How many learn together.
        batches: Of one process in an epoch.
        accumulated: Batches between two steps of the optimizer.
    """

    images: int
    batch_size: int
    processes: int = 1
    batches: int = 1
    accumulated: int = 1

    def images_of(self, batch: int, process: int) -> int:
        """Return how many images of a batch count; any others stand at its end, and were dealt out before."""
        first = batch * self.batch_size * self.processes + process
        left = -(-(self.images - first) // self.processes)  # rounded up
        return min(max(left, 0), self.batch_size)

    def weight(self, batch: int, process: int) -> float:
        """Return what the mean over the images of a batch is multiplied with; 1 where all batches are of one size."""
        begin = batch // self.accumulated * self.accumulated
        step = range(begin, min(begin + self.accumulated, self.batches))
        together = sum(
            self.images_of(one, other) for one in step for other in range(self.processes)
        )
        return self.images_of(batch, process) * self.accumulated * self.processes / together
