"""Learn prompts: ``python train.py dataset=visa``. Every choice: ``python train.py --help``."""

from __future__ import annotations

import logging
import sys

import hydra
from omegaconf import DictConfig

from zsad import build

log = logging.getLogger("zsad")


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
        log.info("learning from %(dataset)s: %(images)d images, %(anomalous)d anomalous", task.provenance["trained_on"])
        trainer.fit(task, data, ckpt_path=resume_from, weights_only=True)
        log.info("learned: %s", config.paths.output_dir)
        log.info(
            "to test it: python test.py dataset=mvtec %s ckpt_path=%s", build.same_model(), config.paths.output_dir
        )


if __name__ == "__main__":
    build.check_choices(sys.argv[1:])
    main()
