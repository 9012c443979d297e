"""Learn prompts: ``python train.py dataset=visa``. Every choice: ``python train.py --help``."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig

from zsad import build, guards, restarts

log = logging.getLogger("zsad")


@hydra.main(version_base="1.3", config_path=str(build.CONF), config_name="train")
def main(config: DictConfig) -> None:
    """Compose, build, fit."""
    with build.clear_errors(), restarts.recorded(config, "training") as run:
        guards.require_trainable(config)
        guards.require_known_tiling(config)
        if run.nothing_left():
            return
        resume_from = guards.resume_path(config, run)
        from zsad import runs  # torch: not before the cheap mistakes are excluded

        build.seed_everything(config)
        data = build.build(config.dataset)
        data.setup("fit")  # a mistake in the data shows before any weights are read
        task = build.build(config.model)
        task.provenance = runs.provenance(
            task, data, chosen=build.chosen(), settings=build.settings(config), seed=config.seed
        )
        trainer = build.build_trainer(config)
        if trainer.is_global_zero:
            runs.announce_training(task.provenance)
        guards.clear_run_folder(config, run, resume_from)
        run.begin()
        trainer.fit(task, data, ckpt_path=resume_from, weights_only=True)
        runs.write_training(task, trainer, Path(config.paths.output_dir), config=build.plain(config))


if __name__ == "__main__":
    sys.argv[1:] = build.read_arguments(sys.argv[1:])
    main()
