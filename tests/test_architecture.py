"""The architecture holds.

Imports go downwards, Hydra and Lightning stay in their layers, and files stay readable.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "zsad"
MODULES = sorted(SOURCE.rglob("*.py"))
TESTS = ROOT / "tests"
TEST_FILES = sorted(TESTS.rglob("test_*.py"))

# From the lowest layer to the highest. Packages of one layer do not import each other.
LAYERS = (
    {"types", "atomic_write", "distributed"},
    {"contract", "functional"},
    {"backbones", "metrics"},
    {"prompts", "model_files"},
    {"methods"},
    {"tasks", "data", "reports", "export"},
    {"callbacks"},
    {"config"},
    {"runs"},
    {"api"},
    {"serve"},
    {"cli"},
)
# The same inside of packages. Modules that are not named here are free.
INNER_LAYERS = {
    "zsad.reports": ({"figures"}, {"run_page"}, {"html"}),
    "zsad.data": (
        {"path_check", "image_files"},
        {"sources"},
        {"layouts"},
        {"index"},
        {"module"},
        {"prepare"},
    ),
}
HYDRA = {"config", "runs", "api", "serve", "cli"}
LIGHTNING_PACKAGES = {"tasks", "callbacks", "runs"}
LIGHTNING_FILES = {"data/module.py", "data/corruptions.py", "config/instantiate.py"}
SLOW_TO_IMPORT = {"torchvision", "transformers", "timm", "scipy", "pandas", "jinja2", "wandb"}
NAMES_OF_CHOICES = ("model", "arch", "backbone", "dataset", "method", "category")
VAGUE_NAMES = {"utils", "util", "helpers", "common", "base", "misc", "registry", "factory"}


def layer(package: str) -> int:
    return next(place for place, packages in enumerate(LAYERS) if package in packages)


def package_of(path: Path) -> str:
    """The package, or the module at the top, that a file belongs to."""
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def module_of(path: Path) -> str:
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def imports(nodes: Iterator[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def all_imports(path: Path) -> list[str]:
    return list(imports(ast.walk(parsed(path))))


def imports_at_start(path: Path) -> list[str]:
    """Imports that run when a file is imported, neither in functions nor for the type checker."""

    def at_start(node: ast.AST) -> Iterator[ast.AST]:
        for child in ast.iter_child_nodes(node):
            is_for_types = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
            if isinstance(child, (ast.FunctionDef, ast.Lambda)) or is_for_types:
                continue
            yield child
            yield from at_start(child)

    return list(imports(at_start(parsed(path))))


def roots(names: list[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


def test_every_package_has_a_layer() -> None:
    packages = {package_of(path) for path in MODULES} - {"__init__", "__main__"}
    assert packages <= set.union(*LAYERS)


def test_imports_go_downwards_only() -> None:
    for path in MODULES:
        here = package_of(path)
        for name in all_imports(path):
            if not name.startswith("zsad.") or here in ("__init__", "__main__"):
                continue
            there = name.split(".")[1]
            assert there == here or layer(there) < layer(here), f"{module_of(path)} imports {name}"


@pytest.mark.parametrize("package", INNER_LAYERS)
def test_the_inner_order_of_a_package_holds(package: str) -> None:
    places = {name: n for n, names in enumerate(INNER_LAYERS[package]) for name in names}
    prefix = f"{package}."
    checked = 0
    for path in MODULES:
        here = module_of(path).removeprefix(prefix).partition(".")[0]
        if not module_of(path).startswith(prefix) or here not in places:
            continue
        for name in all_imports(path):
            there = name.removeprefix(prefix).partition(".")[0]
            if name.startswith(prefix) and there in places and there != here:
                assert places[there] < places[here], f"{module_of(path)} imports {name}"
                checked += 1
    assert checked


def test_only_prepare_commands_import_prepare() -> None:
    """What writes indexes is not loaded by runs that read them."""
    for path in MODULES:
        if module_of(path).startswith("zsad.data.prepare") or package_of(path) == "cli":
            continue
        prepare = [name for name in all_imports(path) if name.startswith("zsad.data.prepare")]
        assert not prepare, f"{module_of(path)} imports {prepare}"


def test_hydra_stays_in_config_and_above() -> None:
    for path in MODULES:
        if package_of(path) not in HYDRA:
            assert not roots(all_imports(path)) & {"hydra", "omegaconf"}, module_of(path)


def test_lightning_stays_where_models_are_trained() -> None:
    for path in MODULES:
        allowed = package_of(path) in LIGHTNING_PACKAGES
        if not allowed and str(path.relative_to(SOURCE)) not in LIGHTNING_FILES:
            assert "lightning" not in roots(all_imports(path)), module_of(path)


def test_configuration_starts_without_lightning() -> None:
    for path in MODULES:
        if package_of(path) == "config":
            assert "lightning" not in roots(imports_at_start(path)), module_of(path)


def test_slow_libraries_are_imported_inside_functions() -> None:
    for path in MODULES:
        assert not roots(imports_at_start(path)) & SLOW_TO_IMPORT, module_of(path)


def test_nothing_branches_on_the_name_of_a_choice() -> None:
    for path in MODULES:
        for node in ast.walk(parsed(path)):
            if not isinstance(node, ast.Compare):
                continue
            sides = [node.left, *node.comparators]
            text = any(
                isinstance(side, ast.Constant) and isinstance(side.value, str) for side in sides
            )
            names = [getattr(side, "id", getattr(side, "attr", "")) for side in sides]
            chosen = [
                name for name in names if any(word in name.lower() for word in NAMES_OF_CHOICES)
            ]
            assert not (text and chosen), (
                f"{path.name}:{node.lineno} compares {chosen} with a literal"
            )


def test_no_print_no_global_no_unsafe_load() -> None:
    for path in MODULES:
        for node in ast.walk(parsed(path)):
            where = f"{path.name}:{node.lineno}" if hasattr(node, "lineno") else path.name
            assert not isinstance(node, ast.Global), where
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in ("print", "eval", "exec", "pickle.load", "pickle.loads"), where
                if called == "torch.load":
                    safe = {k.arg: ast.unparse(k.value) for k in node.keywords}
                    assert safe.get("weights_only") == "True", where


def test_files_and_functions_stay_readable() -> None:
    for path in MODULES:
        assert len(path.read_text().splitlines()) <= 350, module_of(path)
        for node in ast.walk(parsed(path)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                has_docstring = ast.get_docstring(node) is not None and len(node.body) > 1
                first = node.body[1 if has_docstring else 0]
                assert (node.end_lineno or 0) - first.lineno < 50, f"{path.name}: {node.name}"


def test_names_say_what_is_inside() -> None:
    for path in MODULES:
        assert not set(path.relative_to(SOURCE).with_suffix("").parts) & VAGUE_NAMES, path


def test_names_of_tests_have_at_most_60_characters() -> None:
    """A longer sentence about a test belongs into its docstring."""
    for path in TEST_FILES:
        for node in ast.walk(parsed(path)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                is_short = len(node.name) <= 60
                assert is_short or not node.name.startswith("test_"), f"{path}: {node.name}"


@pytest.mark.parametrize("script", ["train.py", "test.py"])
def test_the_two_entry_points_stay_thin(script: str) -> None:
    assert len((ROOT / script).read_text().splitlines()) <= 50
