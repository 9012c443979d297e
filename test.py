"""Test a model: ``python test.py dataset=mvtec ckpt_path=runs/train/…``. Choices: ``--help``."""

from __future__ import annotations

import sys

import hydra
from omegaconf import DictConfig

from zsad.config import compose, errors, instantiate
from zsad.runs import preflight, resume, run_folder


@hydra.main(version_base="1.3", config_path=str(compose.CONF), config_name="test")
def main(config: DictConfig) -> None:
    """Check, build, test on each dataset, report."""
    with errors.clear_errors(), resume.record_status(config, "test") as run:
        preflight.check_test(config, run)
        if run.already_finished():
            return

        # These import torch, which takes seconds: cheap mistakes show before.
        from zsad.runs.evaluate_datasets import evaluate_datasets, setup_datasets

        instantiate.seed_everything(config)
        datasets = setup_datasets(config)  # a mistake in the data shows before weights are read
        task = instantiate.build_task(config)
        provenance = task.load_prompts(config.ckpt_path) if config.ckpt_path else None
        robustness = instantiate.build(config.robustness)
        run_folder.clear_run_folder(config, run)
        run.begin()
        evaluate_datasets(config, datasets, task, provenance, robustness)


if __name__ == "__main__":
    sys.argv[1:] = compose.read_arguments(sys.argv[1:])
    main()
