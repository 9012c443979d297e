"""Test a method: ``python test.py dataset=mvtec ckpt_path=runs/train/…``. Every choice: ``python test.py --help``."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig

from zsad import build, guards

log = logging.getLogger("zsad")


@hydra.main(version_base="1.3", config_path=str(build.CONF), config_name="test")
def main(config: DictConfig) -> None:
    """Compose, build, test, report."""
    with build.clear_errors():
        guards.require_prompts(config)
        guards.require_unused_test_folder(config)
        from zsad import runs  # torch: not before the cheap mistakes are excluded

        build.seed_everything(config)
        data = build.build(config.dataset)
        data.setup("test")  # a mistake in the data shows before any weights are read
        task = build.build(config.model)
        learned = task.load_prompts(config.ckpt_path) if config.ckpt_path else {}
        trainer = build.build_trainer(config)
        if trainer.is_global_zero:
            log.info("testing on %s: images %d, categories %d", data.name, len(data.test_samples), len(data.categories))
        guards.clear_run_folder(config, "test")
        trainer.test(task, data, verbose=False)
        folder, settings = Path(config.paths.output_dir), build.settings(config)
        runs.write_test(task, trainer, folder, config=build.plain(config), settings=settings, learned=learned)


if __name__ == "__main__":
    build.check_choices(sys.argv[1:])
    main()
