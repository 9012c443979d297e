"""Commands as a user types them, in the process of the test, and two small generated datasets."""

from __future__ import annotations

import json
import runpy
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra
from typer.testing import CliRunner, Result

ROOT = Path(__file__).parents[2]
GENERATED_PX = 64
Zsad = Callable[..., Result]
RunScript = Callable[..., None]


@pytest.fixture(scope="session")
def zsad() -> Zsad:
    """The ``zsad`` command: ``zsad("predict", checkpoint, images).output``."""
    from zsad.cli import app

    def zsad(*arguments: str | Path) -> Result:
        GlobalHydra.instance().clear()
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return zsad


@pytest.fixture(scope="session")
def run_script() -> RunScript:
    """``run_script("train.py", "dataset=visa")`` for ``python train.py dataset=visa``."""

    def run_script(script: str, *arguments: str) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.argv", [script, *arguments])
            GlobalHydra.instance().clear()
            try:
                runpy.run_path(str(ROOT / script), run_name="__main__")
            finally:
                GlobalHydra.instance().clear()

    return run_script


@pytest.fixture(scope="session")
def _generated(tmp_path_factory: pytest.TempPathFactory, zsad: Zsad) -> Path:
    """Both generated datasets, small ones, prepared by the documented command. Never changed."""
    from zsad.data import synthetic

    folder = tmp_path_factory.mktemp("generated")
    small = partial(
        synthetic.write_synthetic,
        size=GENERATED_PX,
        train_good=1,
        good=2,
        defective=2,
        grades=("easy",),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthetic, "write_synthetic", small)
        done = zsad("prepare", "synthetic", folder, "--data-json", folder / "data_json")
    assert done.exit_code == 0, done.output
    for name in ("synthetic_a", "synthetic_b"):
        assert f"wrote {folder}/data_json/{name}.json" in done.output
    return folder


@pytest.fixture(scope="module")
def place(_generated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the generated datasets, for the tests of one file."""
    place = tmp_path_factory.mktemp("place")
    shutil.copytree(_generated, place, dirs_exist_ok=True)
    roots = {name: str(place / name) for name in ("synthetic_a", "synthetic_b")}
    (place / "data_json" / "roots.json").write_text(json.dumps(roots))
    return place
