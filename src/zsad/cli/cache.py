"""The command about cached features: fill, look, clear."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from omegaconf import DictConfig

from zsad.cli.options import DataJson, app
from zsad.cli.progress import images, progress_bars
from zsad.config import compose, errors, instantiate


@app.command()
def cache(
    dataset: Annotated[
        str | None, typer.Argument(help="Whose training images are looked at; none: what is kept.")
    ] = None,
    model: Annotated[str, typer.Option(help="That will learn.")] = "anomalyclip",
    backbone: Annotated[
        str | None, typer.Option(help="Whose features; by default the model's usual one.")
    ] = None,
    ram: Annotated[
        bool, typer.Option("--ram", help="In memory (feature_cache=ram), not on disk.")
    ] = False,
    clear: Annotated[bool, typer.Option("--clear", help="Remove all that is kept.")] = False,
    override: Annotated[
        list[str] | None, typer.Option("--set", help="As given to train.py, such as trainer=bf16.")
    ] = None,
    data_json: DataJson = Path("data_json"),
) -> None:
    """Let a frozen backbone look at training images once, for train.py … feature_cache=disk; show or clear the cache.

    Trainings fill the cache by themselves in their first epoch. This does it beforehand, once for a whole sweep.
    """
    with errors.clear_errors():
        config = _config(
            dataset,
            model,
            backbone,
            [f"feature_cache={'ram' if ram else 'disk'}", *(override or [])],
        )
        if clear:
            typer.echo(_cleared(Path(config.feature_cache.folder).expanduser()))
        elif dataset is None:
            typer.echo(_kept(Path(config.feature_cache.folder).expanduser()))
        else:
            config.paths.data_json = str(data_json)
            typer.echo(_filled(config))


def _config(dataset: str | None, model: str, backbone: str | None, given: list[str]) -> DictConfig:
    chosen = {"dataset": dataset, "model": model, "backbone": backbone}
    choices = compose.read_arguments(
        [f"{group}={name}" for group, name in chosen.items() if name is not None]
    )
    return compose.compose_config("train", [*choices, "logger=none", "paths.output_dir=.", *given])


def _filled(config: DictConfig) -> str:
    from zsad.runs import preflight

    preflight.require_trainable(config)
    preflight.require_known_tiling(config)
    data = instantiate.build(config.dataset)
    data.setup("fit")
    task, trainer = instantiate.build_task(config), instantiate.quiet_trainer(config)
    kept, looked_at = task.feature_cache, 0
    kept.open(task.method, str(trainer.precision))
    data.recall = kept.recall
    loader = data.train_dataloader()
    for view in range(data.views or 1):
        loader.sampler.set_epoch(view)
        with progress_bars({f"looking at {config.dataset.name}": images}) as (progress,):
            looked_at += _looked_at(kept, task, trainer, loader, progress)
    total = len(data.train_samples) * (data.views or 1)
    return f"{total - looked_at} of {total} images were known, {looked_at} are looked at: {_kept(kept.folder)}"


def _looked_at(kept: Any, task: Any, trainer: Any, loader: Any, progress: Any) -> int:
    from zsad.tasks.feature_cache import fill_cache

    with trainer.precision_plugin.forward_context():
        return fill_cache(kept, task.method, loader, progress, trainer.strategy.root_device)


def _kept(folder: Path) -> str:
    from zsad.tasks.feature_cache import GB, cache_entries, folder_bytes

    rows = [
        f"  {shelf.name}  {folder_bytes(shelf) / GB:8.3f} GB  {_method(about)}, "
        f"weights {about['weights']}, "
        f"{about['precision']}, {about['dtype']}"
        for shelf, about in cache_entries(folder).items()
    ]
    return "\n".join([f"{folder} holds {folder_bytes(folder) / GB:.3f} GB", *rows])


def _method(about: dict[str, Any]) -> str:
    features = about.get("features") or about["sight"]  # the name of version 0.1
    return features["method"]


def _cleared(folder: Path) -> str:
    from zsad.tasks.feature_cache import GB, clear_cache

    return f"{folder}: {clear_cache(folder) / GB:.3f} GB removed"
