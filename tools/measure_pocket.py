"""Measure a ``pocket`` file, or random weights of its shape, with learned and with hand-written prompts."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import torch
from pocket.heldout import measure


def main() -> None:
    """Read the command line, measure, and log a line of percentages for each seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--cache", type=Path, default=Path("runs/pocket/heldout"), help="folder for rendered pictures")
    parser.add_argument("--sides", type=int, nargs="+", default=[128, 192, 256], help="input sizes in pixels")
    parser.add_argument(
        "--epochs", type=int, nargs="+", default=[0, 8], help="of prompt learning; 0 is the text as written"
    )
    parser.add_argument("--random", action="store_true", help="forget the weights, keep the shape")
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(2)
    for side in options.sides:
        for epochs in options.epochs:
            for seed in range(options.seeds):
                result = measure(options.weights, options.cache, side, epochs, seed, untrained=options.random)
                numbers = "  ".join(f"{name} {value:.1f}" for name, value in result.items())
                logging.info("side %d  epochs %d  seed %d  %s", side, epochs, seed, numbers)


if __name__ == "__main__":
    main()
