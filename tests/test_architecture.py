"""The house stands: floors import downwards, Hydra stays on top, nothing branches on a name, files stay readable."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "zsad"
MODULES = sorted(SOURCE.rglob("*.py"))
LAYERS = [
    {"types", "atomic_write", "distributed"},
    {"functional"},
    {"backbones", "metrics"},
    {"prompts", "model_files"},
    {"methods"},
    {"tasks", "data", "reports"},
    {"callbacks"},
    {"config"},
    {"runs"},
    {"cli"},
]
FLOORS = {room: place for place, rooms in enumerate(LAYERS) for room in rooms}
TOP = len(LAYERS)
HYDRA_ROOMS = {"config", "runs", "cli"}
NAMES_OF_CHOICES = ("model", "arch", "backbone", "dataset", "method", "category")
VAGUE_NAMES = {"utils", "util", "helpers", "common", "base", "misc", "registry", "factory"}


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def floor(room_name: str) -> int:
    return FLOORS.get(room_name, TOP)


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@pytest.fixture(params=MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def path(request: pytest.FixtureRequest) -> Path:
    return request.param


def test_imports_go_downwards_only_and_siblings_do_not_meet(path: Path) -> None:
    here = room_of(path)
    if here == "__init__":
        return
    for name in imports(parsed(path)):
        if not name.startswith("zsad.") or name == "zsad.__version__":
            continue
        there = room(name)
        assert there == here or floor(there) < floor(here) or floor(here) == TOP, (
            f"{path.name} imports {name}"
        )


def test_hydra_and_omegaconf_stay_on_the_top_floor(path: Path) -> None:
    if room_of(path) in HYDRA_ROOMS:
        return
    roots = {name.split(".")[0] for name in imports(parsed(path))}
    assert not roots & {"hydra", "omegaconf"}


def test_lightning_starts_above_the_methods(path: Path) -> None:
    roots = {name.split(".")[0] for name in imports(parsed(path))}
    assert floor(room_of(path)) > FLOORS["methods"] or "lightning" not in roots


def test_nothing_branches_on_the_name_of_a_choice(path: Path) -> None:
    for node in ast.walk(parsed(path)):
        if not isinstance(node, ast.Compare):
            continue
        sides = [node.left, *node.comparators]
        text = any(isinstance(side, ast.Constant) and isinstance(side.value, str) for side in sides)
        names = [getattr(side, "id", getattr(side, "attr", "")) for side in sides]
        chosen = [name for name in names if any(word in name.lower() for word in NAMES_OF_CHOICES)]
        assert not (text and chosen), f"{path.name}:{node.lineno} compares {chosen} with a literal"


def test_no_print_no_global_no_unsafe_load(path: Path) -> None:
    for node in ast.walk(parsed(path)):
        assert not isinstance(node, ast.Global), f"{path.name}:{node.lineno}"
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in ("print", "eval", "exec", "pickle.load", "pickle.loads"), (
                f"{path.name}:{node.lineno}"
            )
            if called == "torch.load":
                assert any(
                    k.arg == "weights_only" and ast.unparse(k.value) == "True"
                    for k in node.keywords
                )


def test_files_and_functions_stay_readable(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 350
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.FunctionDef):
            first = node.body[1 if ast.get_docstring(node) and len(node.body) > 1 else 0]
            assert (node.end_lineno or 0) - first.lineno < 50, f"{path.name}: {node.name}"


def test_names_say_what_is_inside(path: Path) -> None:
    assert not set(path.relative_to(SOURCE).with_suffix("").parts) & VAGUE_NAMES


@pytest.mark.parametrize("script", ["train.py", "test.py"])
def test_the_two_entry_points_stay_thin(script: str) -> None:
    assert len((ROOT / script).read_text().splitlines()) <= 50
