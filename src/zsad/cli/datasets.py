"""Commands about datasets: index, list, check."""

from __future__ import annotations

import shutil
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from zsad.cli.options import DataJson, app
from zsad.cli.progress import images, megabytes, progress_bars
from zsad.config import compose, errors, model_facts

# Datasets that are generated, not downloaded, and the worlds that they consist of.
GENERATED = {"synthetic": ("a", "b")}
ROOT_HELP = (
    "The download: a folder, an archive, or a folder of archives. For 'synthetic': where to write. "
    "By default $ZSAD_DATASETS/NAME or datasets/NAME."
)
WIDE = 1000  # columns of a table that no terminal shows


class BadImage(StrEnum):
    """What to do about a file that is there and cannot be used."""

    REFUSE = "refuse"
    SKIP = "skip"


@app.command()
def prepare(
    name: Annotated[
        str,
        typer.Argument(help="A dataset that `zsad datasets` lists, a name of yours, or folder."),
    ],
    root: Annotated[Path | None, typer.Argument(help=ROOT_HELP)] = None,
    layout: Annotated[
        str | None, typer.Option(help="How ROOT is laid out; by default as NAME's download.")
    ] = None,
    called: Annotated[
        str | None, typer.Option("--name", help="Another name: dataset=NAME from now on.")
    ] = None,
    table: Annotated[
        Path | None, typer.Option(help="CSV with image,label[,mask,category,defect,phase].")
    ] = None,
    normal: Annotated[
        list[str] | None, typer.Option(help="Other names of the folder of normal images.")
    ] = None,
    mask_suffix: Annotated[
        str | None, typer.Option(help="Another end of mask names, such as _GT.")
    ] = None,
    mask_threshold: Annotated[
        int | None, typer.Option(min=0, max=254, help="Defective above this value.")
    ] = None,
    allow_missing_masks: Annotated[
        bool, typer.Option(help="Accept defective images without their mask.")
    ] = False,
    on_bad_image: Annotated[
        BadImage, typer.Option(help="About files that cannot be used.")
    ] = BadImage.REFUSE,
    checksum: Annotated[
        bool, typer.Option(help="Compare archives with published checksums.")
    ] = True,
    data_json: DataJson = Path("data_json"),
    conf: Annotated[Path, typer.Option(help="Where dataset configurations are.")] = compose.CONF
    / "dataset",
) -> None:
    """Write the index of a download, checking every file. The download itself is not altered.

    ``zsad prepare folder ROOT --name NAME`` takes images of your own, sorted into good/ and bad/, with masks in masks/,
    or listed in a ``--table``. ``zsad prepare synthetic`` first generates two sets of images, synthetic_a to learn from
    and synthetic_b to test on, for which nothing has to be downloaded.
    """
    from zsad.data.prepare.write_index import prepare as write_index
    from zsad.data.synthetic import write_synthetic

    with errors.clear_errors():
        worlds = {f"{name}_{world}": world for world in GENERATED.get(name, ())}
        place = root or Path("datasets") / name
        generated = {
            each: (write_synthetic(place / each, world=world), "mvtec")
            for each, world in worlds.items()
        }
        layout = layout or (name if called else None)
        for dataset, (folder, its_layout) in (
            generated or {called or name: (root, layout)}
        ).items():
            with progress_bars({"unpacking": megabytes, f"reading {dataset}": images}) as (
                unpacking,
                progress,
            ):
                prepared = write_index(
                    dataset,
                    folder,
                    its_layout,
                    data_json=data_json,
                    conf=conf,
                    progress=progress,
                    unpacking=unpacking,
                    normal=normal or (),
                    mask_suffix=mask_suffix,
                    mask_threshold=mask_threshold,
                    table=table,
                    allow_missing_masks=allow_missing_masks,
                    skip_bad_images=on_bad_image is BadImage.SKIP,
                    compare_checksum=checksum,
                )
            typer.echo(prepared)


@app.command()
def datasets(
    name: Annotated[
        str | None, typer.Argument(help="One of them: where to get it, and what must lie where.")
    ] = None,
    group: Annotated[
        str | None, typer.Option(help="industrial, medical, synthetic or own.")
    ] = None,
    data_json: DataJson = Path("data_json"),
) -> None:
    """List the datasets that can be prepared, with size, licence and page, and what of them is on this machine."""
    from zsad.data.prepare import catalogue

    with errors.clear_errors():
        if name is None:
            text = catalogue.format_table(
                catalogue.list_datasets(data_json, group),
                shutil.get_terminal_size((WIDE, 0)).columns,
            )
        else:
            text = catalogue.describe_dataset(name, data_json)
    typer.echo(text)


@app.command()
def verify(
    name: Annotated[str, typer.Argument(help="Dataset whose index is checked against the disk.")],
    root: Annotated[
        Path | None, typer.Option(help="Folder of the images, if they have moved.")
    ] = None,
    data_json: DataJson = Path("data_json"),
) -> None:
    """Decode every image and mask of an index and report all that does not fit; the exit code is 1 if anything."""
    from zsad.data.prepare.verify import verify as check

    with errors.clear_errors(), progress_bars({f"decoding {name}": images}) as (progress,):
        threshold = model_facts.mask_threshold(name)
        report = check(name, root, data_json=data_json, mask_threshold=threshold, progress=progress)
    typer.echo(report)
    if report.problems:
        raise typer.Exit(1)
