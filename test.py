"""Test a method: ``python test.py dataset=mvtec ckpt_path=runs/train/…``. Every choice: ``python test.py --help``."""

from __future__ import annotations

import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig

from zsad import build, guards


@hydra.main(version_base="1.3", config_path=str(build.CONF), config_name="test")
def main(config: DictConfig) -> None:
    """Compose, build, test, report; on several datasets one after the other, with the same networks."""
    with build.clear_errors():
        guards.check_test(config)
        from zsad import runs  # torch: not before the cheap mistakes are excluded

        configs = build.for_each_dataset(config)
        build.seed_everything(config)
        data = runs.set_up({name: build.build(one.dataset) for name, one in configs.items()}, config.skip_missing)
        task, settings, tested, notes, rows = build.build(config.model), build.settings(config), {}, {}, []
        learned = task.load_prompts(config.ckpt_path) if config.ckpt_path else None
        changes = build.build(config.robustness)
        guards.clear_run_folder(config, "test")
        for name, one in data.items():
            trainer, folder = build.build_trainer(configs[name]), Path(configs[name].paths.output_dir)
            notes[name] = runs.inspect(task, one, learned=learned, settings=settings)
            trainer.test(task, one, verbose=False)
            own, about = (
                build.plain(configs[name]),
                {"learned": learned, "notes": notes[name], "departures": build.departures()},
            )
            about["robustness"] = changes and changes.run(task.method, one, build.quiet_trainer(config), folder)
            rows += runs.write_test(task, trainer, folder, config=own, chosen=build.chosen(), **about)
            tested[name] = task.results
        if trainer.is_global_zero:
            folder = Path(config.paths.output_dir)
            if config.test_on:
                runs.write_summary(tested, folder, notes)
            runs.write_published(rows, folder, build.chosen()["model"])


if __name__ == "__main__":
    sys.argv[1:] = build.read_arguments(sys.argv[1:])
    main()
