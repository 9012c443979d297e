"""Learn prompts: ``python train.py dataset=visa``. Every choice: ``python train.py --help``."""

from __future__ import annotations

import sys

import hydra
from omegaconf import DictConfig

from zsad import build


@hydra.main(version_base="1.3", config_path=str(build.CONF), config_name="train")
def main(config: DictConfig) -> None:
    """Compose, build, fit."""
    with build.clear_errors():
        build.require_trainable(config)
        resume_from = build.resume_path(config)
        build.seed_everything(config)
        data = build.build(config.dataset)
        data.setup("fit")  # a mistake in the data shows before any weights are read
        task = build.build(config.model)
        task.provenance = build.provenance(config, task, data)
        trainer = build.build_trainer(config)
        trainer.fit(task, data, ckpt_path=resume_from, weights_only=True)


if __name__ == "__main__":
    build.check_choices(sys.argv[1:])
    main()
