"""Learn prompts: ``python train.py dataset=visa``. Every choice: ``python train.py --help``."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig

from zsad.config import checkpoint_settings, compose, errors, instantiate
from zsad.runs import preflight, resume

log = logging.getLogger("zsad")


@hydra.main(version_base="1.3", config_path=str(compose.CONF), config_name="train")
def main(config: DictConfig) -> None:
    """Compose, build, fit."""
    with errors.clear_errors(), resume.record_status(config, "training") as run:
        preflight.require_trainable(config)
        preflight.require_known_tiling(config)
        if run.already_finished():
            return
        resume_from = preflight.resume_path(config, run)
        from zsad.runs import (
            provenance,
            results,
        )  # torch: not before the cheap mistakes are excluded

        instantiate.seed_everything(config)
        data = instantiate.build(config.dataset)
        data.setup("fit")  # a mistake in the data shows before any weights are read
        task = instantiate.build_task(config)
        task.provenance = provenance.training_provenance(
            task,
            data,
            chosen=compose.choices_of_run(),
            settings=checkpoint_settings.settings(config),
            seed=config.seed,
        )
        trainer = instantiate.build_trainer(config)
        if trainer.is_global_zero:
            results.announce_training(task.provenance)
        preflight.clear_run_folder(config, run, resume_from)
        run.begin()
        trainer.fit(task, data, ckpt_path=resume_from, weights_only=True)
        results.write_training(
            task, trainer, Path(config.paths.output_dir), config=compose.to_dict(config)
        )


if __name__ == "__main__":
    sys.argv[1:] = compose.read_arguments(sys.argv[1:])
    main()
