"""The command about cached features: fill, show, clear."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from omegaconf import DictConfig

from zsad.cli.options import MODELS, DataJson, Override, app
from zsad.cli.progress import images, progress_bars
from zsad.config import compose, errors, instantiate


@app.command(rich_help_panel=MODELS)
def cache(
    dataset: Annotated[
        str | None, typer.Argument(help="Dataset to train on; without it, the cache is shown.")
    ] = None,
    model: Annotated[str, typer.Option(help="Model to train.")] = "anomalyclip",
    backbone: Annotated[
        str | None, typer.Option(help="Its backbone; by default the model's own.")
    ] = None,
    ram: Annotated[
        bool, typer.Option("--ram", help="In memory (feature_cache=ram), not on disk.")
    ] = False,
    clear: Annotated[bool, typer.Option("--clear", help="Remove all cached features.")] = False,
    override: Override = None,
    data_json: DataJson = Path("data_json"),
) -> None:
    """Cache features of training images; show or clear the cache.

    A training with `feature_cache=disk` fills the cache in its first epoch. This command does it
    beforehand, once for a whole sweep.
    """
    place = "ram" if ram else "disk"
    with errors.clear_errors():
        overrides = [f"feature_cache={place}", *(override or [])]
        config = _config(dataset, model, backbone, overrides)
        folder = Path(config.feature_cache.folder).expanduser()
        if clear:
            typer.echo(_clear(folder))
        elif dataset is None:
            typer.echo(_describe(folder))
        else:
            config.paths.data_json = str(data_json)
            typer.echo(_fill(config))


def _config(
    dataset: str | None, model: str, backbone: str | None, overrides: Sequence[str]
) -> DictConfig:
    choices = {"dataset": dataset, "model": model, "backbone": backbone}
    typed = [f"{group}={name}" for group, name in choices.items() if name is not None]
    checked = compose.read_arguments(typed)
    return compose.compose_config(
        "train", [*checked, "logger=none", "paths.output_dir=.", *overrides]
    )


def _fill(config: DictConfig) -> str:
    from zsad.runs import preflight

    preflight.check_training(config)
    data = instantiate.build(config.dataset)
    data.setup("fit")
    task = instantiate.build_task(config)
    trainer = instantiate.quiet_trainer(config)
    feature_cache = task.feature_cache
    feature_cache.open(task.method, str(trainer.precision))
    data.cache_lookup = feature_cache.lookup
    loader = data.train_dataloader()
    num_views = data.views or 1
    num_encoded = 0
    for view in range(num_views):
        loader.sampler.set_epoch(view)
        with progress_bars({f"encoding {config.dataset.name}": images}) as (progress,):
            num_encoded += _fill_view(task, trainer, loader, progress)
    total = len(data.train_samples) * num_views
    return (
        f"{total - num_encoded} of {total} images were cached, {num_encoded} are encoded now: "
        f"{_describe(feature_cache.folder)}"
    )


def _fill_view(task: Any, trainer: Any, loader: Any, progress: Any) -> int:
    from zsad.tasks.feature_cache import fill_cache

    device = trainer.strategy.root_device
    with trainer.precision_plugin.forward_context():
        return fill_cache(task.feature_cache, task.method, loader, progress, device)


def _describe(folder: Path) -> str:
    from zsad.tasks.cache_folder import GB, cache_entries, folder_bytes

    lines = [f"{folder} holds {folder_bytes(folder) / GB:.3f} GB"]
    for entry, info in cache_entries(folder).items():
        size = f"{folder_bytes(entry) / GB:8.3f} GB"
        weights, precision, dtype = info["weights"], info["precision"], info["dtype"]
        lines.append(
            f"  {entry.name}  {size}  {_method(info)}, weights {weights}, {precision}, {dtype}"
        )
    return "\n".join(lines)


def _method(info: dict[str, Any]) -> str:
    features = info.get("features") or info["sight"]  # the name of version 0.1
    return features["method"]


def _clear(folder: Path) -> str:
    from zsad.tasks.cache_folder import GB, clear_cache

    return f"{folder}: {clear_cache(folder) / GB:.3f} GB removed"
