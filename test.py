"""Test a method: ``python test.py dataset=mvtec ckpt_path=runs/train/…``. Every choice: ``python test.py --help``."""

from __future__ import annotations

import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig

from zsad import distributed
from zsad.config import checkpoint_settings, compose, errors, instantiate
from zsad.runs import preflight, resume


@hydra.main(version_base="1.3", config_path=str(compose.CONF), config_name="test")
def main(config: DictConfig) -> None:
    """Compose, build, test, report; on several datasets one after the other, with the same networks."""
    with errors.clear_errors(), resume.record_status(config, "test") as run:
        preflight.check_test(config, run)
        if run.already_finished():
            return
        from zsad.runs import (
            provenance,
            results,
            several_datasets,
        )  # torch: not before the cheap mistakes are excluded

        configs = compose.configs_by_dataset(config)
        instantiate.seed_everything(config)
        data = results.setup_datasets(
            {name: instantiate.build(one.dataset) for name, one in configs.items()},
            config.skip_missing,
        )
        task, settings, tested = (
            instantiate.build_task(config),
            checkpoint_settings.settings(config),
            several_datasets.Summary(),
        )
        learned = task.load_prompts(config.ckpt_path) if config.ckpt_path else None
        changes = instantiate.build(config.robustness)
        preflight.clear_run_folder(config, run)
        run.begin()
        for name, one in data.items():
            own, folder = configs[name], Path(configs[name].paths.output_dir)
            info = results.EvaluationInfo(
                compose.to_dict(own),
                compose.choices_of_run(),
                learned,
                resume.deciding_settings(own),
                checkpoint_settings.changed_settings(),
            )
            if config.test_on and not config.overwrite and tested.restore(name, folder, info):
                continue
            trainer = instantiate.build_trainer(own)
            notes = provenance.announce_test(task, one, learned=learned, settings=settings)
            trainer.test(task, one, verbose=False)
            robustness = changes and changes.run(
                task.method, one, instantiate.quiet_trainer(config), folder
            )
            beside = results.write_test(task, trainer, folder, info, notes, robustness)
            tested.add(name, task.results, notes, beside)
        if distributed.is_first_process():
            tested.write(
                Path(config.paths.output_dir),
                compose.choices_of_run()["model"],
                several=bool(config.test_on),
            )


if __name__ == "__main__":
    sys.argv[1:] = compose.read_arguments(sys.argv[1:])
    main()
