"""Test a method: ``python test.py dataset=mvtec ckpt_path=runs/train/…``. Every choice: ``python test.py --help``."""

from __future__ import annotations

import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig

from zsad import build, guards, restarts


@hydra.main(version_base="1.3", config_path=str(build.CONF), config_name="test")
def main(config: DictConfig) -> None:
    """Compose, build, test, report; on several datasets one after the other, with the same networks."""
    with build.clear_errors(), restarts.recorded(config, "test") as run:
        guards.check_test(config, run)
        if run.nothing_left():
            return
        from zsad import runs, summary  # torch: not before the cheap mistakes are excluded

        configs = build.for_each_dataset(config)
        build.seed_everything(config)
        data = runs.set_up({name: build.build(one.dataset) for name, one in configs.items()}, config.skip_missing)
        task, settings, tested = build.build(config.model), build.settings(config), summary.Summary()
        learned = task.load_prompts(config.ckpt_path) if config.ckpt_path else None
        changes = build.build(config.robustness)
        guards.clear_run_folder(config, run)
        run.begin()
        for name, one in data.items():
            own, folder = configs[name], Path(configs[name].paths.output_dir)
            about = runs.About(build.plain(own), build.chosen(), learned, restarts.decisions(own), build.departures())
            if config.test_on and not config.overwrite and tested.restore(name, folder, about):
                continue
            trainer = build.build_trainer(own)
            notes = runs.inspect(task, one, learned=learned, settings=settings)
            trainer.test(task, one, verbose=False)
            robustness = changes and changes.run(task.method, one, build.quiet_trainer(config), folder)
            beside = runs.write_test(task, trainer, folder, about, notes, robustness)
            tested.add(name, task.results, notes, beside)
        if restarts.is_first_process():
            tested.write(Path(config.paths.output_dir), build.chosen()["model"], several=bool(config.test_on))


if __name__ == "__main__":
    sys.argv[1:] = build.read_arguments(sys.argv[1:])
    main()
