"""Train prompts: ``python train.py dataset=visa``. All choices: ``python train.py --help``."""

from __future__ import annotations

import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig

from zsad.config import compose, errors, instantiate
from zsad.runs import preflight, resume, run_folder


@hydra.main(version_base="1.3", config_path=str(compose.CONF), config_name="train")
def main(config: DictConfig) -> None:
    """Check, build, fit, report."""
    with errors.clear_errors(), resume.record_status(config, "training") as run:
        preflight.check_training(config)
        if run.already_finished():
            return
        resume_from = run_folder.resume_path(config, run)

        # These import torch, which takes seconds: cheap mistakes show before.
        from zsad.runs import provenance, results

        instantiate.seed_everything(config)
        data = instantiate.build(config.dataset)
        data.setup("fit")  # a mistake in the data shows before any weights are read
        task = instantiate.build_task(config)
        task.provenance = provenance.training_provenance(config, task, data)
        trainer = instantiate.build_trainer(config)
        provenance.announce_training(task.provenance)
        run_folder.clear_run_folder(config, run, resume_from)
        run.begin()
        trainer.fit(task, data, ckpt_path=resume_from, weights_only=True)
        folder = Path(config.paths.output_dir)
        results.write_training(task, trainer, folder, config=compose.to_dict(config))


if __name__ == "__main__":
    sys.argv[1:] = compose.read_arguments(sys.argv[1:])
    main()
