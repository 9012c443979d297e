"""The ``zsad`` command line itself, and the options that several of its commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",  # joins the lines of a docstring's paragraph
    help="Zero-shot anomaly detection: prepare datasets, use trained models, compare finished "
    "runs. To train: `python train.py --help`. To test: `python test.py --help`.",
)

# Headings of the list of commands.
DATASETS = "Datasets"
MODELS = "Models"
RUNS = "Finished runs"

Checkpoint = Annotated[
    Path,
    typer.Argument(
        help="A run folder, a .ckpt, exported .safetensors, a published epoch_N.pth, or the name "
        "of a training-free model."
    ),
]
Model = Annotated[
    str | None, typer.Option(help="Model of conf/model; by default that of the checkpoint.")
]
Backbone = Annotated[
    str | None, typer.Option(help="Backbone of conf/backbone; by default that of the checkpoint.")
]
Override = Annotated[
    list[str] | None,
    typer.Option("--set", help="Any KEY=VALUE of the configuration, such as image_size=336."),
]
DataJson = Annotated[Path, typer.Option(help="Folder of the dataset indexes.")]
