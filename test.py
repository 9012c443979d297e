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
    """Compose, build, test, report; on several datasets one after the other, with the same networks."""
    with build.clear_errors():
        guards.require_prompts(config)
        guards.require_references(config)
        guards.require_unused_test_folder(config)
        from zsad import runs  # torch: not before the cheap mistakes are excluded

        configs = build.for_each_dataset(config)
        build.seed_everything(config)
        data = runs.set_up({name: build.build(one.dataset) for name, one in configs.items()}, config.skip_missing)
        task, settings, tested, notes = build.build(config.model), build.settings(config), {}, {}
        learned = task.load_prompts(config.ckpt_path) if config.ckpt_path else None
        guards.clear_run_folder(config, "test")
        for name, one in data.items():
            trainer, folder = build.build_trainer(configs[name]), Path(configs[name].paths.output_dir)
            notes[name] = runs.inspect(task, one, learned=learned, settings=settings)
            if trainer.is_global_zero:
                log.info("testing on %s: images %d, categories %d", name, len(one.test_samples), len(one.categories))
            trainer.test(task, one, verbose=False)
            known, own = (learned or {}).get("trained_on"), build.plain(configs[name])
            runs.write_test(task, trainer, folder, config=own, trained_on=known, notes=notes[name])
            tested[name] = task.results
        if trainer.is_global_zero:
            folder = Path(config.paths.output_dir)
            if config.test_on:
                runs.write_summary(tested, folder, notes)
            runs.write_published(tested, folder, config=build.plain(config), chosen=build.chosen(), learned=learned)


if __name__ == "__main__":
    sys.argv[1:] = build.read_arguments(sys.argv[1:])
    main()
