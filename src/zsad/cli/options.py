"""The ``zsad`` command line itself, and the options that several of its commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Zero-shot anomaly detection.",
)

Checkpoint = Annotated[
    Path,
    typer.Argument(
        help="A run folder, a .ckpt, exported .safetensors, a published epoch_N.pth; or a model that learns nothing."
    ),
]
Model = Annotated[
    str | None, typer.Option(help="By default the one the checkpoint was learned with.")
]
Backbone = Annotated[
    str | None, typer.Option(help="By default the one the checkpoint was learned with.")
]
Override = Annotated[
    list[str] | None, typer.Option("--set", help="Any key.path=value of the configuration.")
]
DataJson = Annotated[Path, typer.Option(help="Folder of the dataset indexes.")]
