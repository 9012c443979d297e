"""Measure a ``pocket`` file, random weights of its shape, or no network at all.

Prompts are learned on drawings, or left as written. They are tested on other drawings, or on
photographs.
"""

from __future__ import annotations

import argparse
import logging
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from pocket.heldout import Photos, Trial, auxiliary, contrast, dataset, target

WEIGHTS = Path(__file__).parents[1] / "src" / "zsad" / "assets" / "pocket.safetensors"


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path, nargs="?", default=WEIGHTS)
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path("runs/pocket/heldout"),
        help="folder for rendered pictures",
    )
    parser.add_argument(
        "--sides", type=int, nargs="+", default=[128, 192, 256], help="input sizes in pixels"
    )
    parser.add_argument(
        "--epochs",
        type=int,
        nargs="+",
        default=[0, 8],
        help="of prompt learning; 0 is the text as written",
    )
    parser.add_argument(
        "--seeds", type=int, default=1, help="0, 1, … of the prompts; mean ± deviation of several"
    )
    parser.add_argument(
        "--mtd", action="store_true", help="test on all photographs of MTD instead of synthetic_b"
    )
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--random", action="store_true", help="forget the weights, keep the shape")
    instead.add_argument(
        "--contrast", action="store_true", help="without any network: what differs from its picture"
    )
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def line(results: Sequence[Mapping[str, float]]) -> str:
    """Return the mean of each percentage.

    Several runs add the standard deviation, of one run and not of the mean.
    """
    columns = {name: [result[name] for result in results] for name in results[0]}
    deviations = {
        name: f" ± {statistics.stdev(column):.1f}"
        for name, column in columns.items()
        if len(column) > 1
    }
    means = {name: f"{name} {statistics.mean(column):.1f}" for name, column in columns.items()}
    return "  ".join(mean + deviations.get(name, "") for name, mean in means.items())


def log_contrast(side: int, tested: Photos) -> None:
    """Log what two definitions of contrast reach."""
    for name, local in (("from the median of the picture", False), ("from the surroundings", True)):
        logging.info("side %d  contrast %s  %s", side, name, line([contrast(tested, local=local)]))


def log_prompts(options: argparse.Namespace, side: int, tested: Photos) -> None:
    """Log what prompts reach for each number of epochs, over all seeds."""
    trial = Trial(options.weights, auxiliary(side, options.cache), tested, untrained=options.random)
    for epochs in options.epochs:
        seeds = range(options.seeds if epochs else 1)  # a text as written has no seed
        results = [trial.run(epochs, seed) for seed in seeds]
        logging.info("side %d  epochs %d  seeds %d  %s", side, epochs, len(seeds), line(results))


def main() -> None:
    """Measure and log a line of percentages for each input size and number of epochs."""
    options = arguments()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(options.threads)
    for side in options.sides:
        tested = dataset("mtd", side) if options.mtd else target(side, options.cache)
        if options.contrast:
            log_contrast(side, tested)
        else:
            log_prompts(options, side, tested)


if __name__ == "__main__":
    main()
