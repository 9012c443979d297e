"""Loss weights that make any number of processes learn as a single one would."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LossWeights:
    """Weights each process's loss by its share of the images.

    The images of an epoch are dealt one by one to the processes in turn, then into batches. The
    trainer averages over processes and over accumulated batches as if all were of one size. At the
    end of an epoch they are not: a process may have fewer images than another, or repeats one to
    stay busy, and the last step may have fewer batches than those before it. The weight of a batch
    makes up for that.

    Attributes:
        images: Images in an epoch.
        batch_size: Images of a batch of one process.
        processes: Processes that learn together.
        batches: Batches of one process in an epoch.
        accumulated: Batches between two steps of the optimizer.
    """

    images: int
    batch_size: int
    processes: int = 1
    batches: int = 1
    accumulated: int = 1

    def images_of(self, batch: int, process: int) -> int:
        """Return the number of images of a batch that count; repeated images stand at its end."""
        first = batch * self.batch_size * self.processes + process
        num_left = -(-(self.images - first) // self.processes)  # rounded up
        return min(max(num_left, 0), self.batch_size)

    def weight(self, batch: int, process: int) -> float:
        """Return the factor of a batch's mean loss; 1 if all batches are of one size."""
        start = batch // self.accumulated * self.accumulated
        end = min(start + self.accumulated, self.batches)
        in_step = 0
        for step_batch in range(start, end):
            for step_process in range(self.processes):
                in_step += self.images_of(step_batch, step_process)
        return self.images_of(batch, process) * self.accumulated * self.processes / in_step
