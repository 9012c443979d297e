"""Declared versions: every imported package is declared, and known holes are excluded."""

from __future__ import annotations

import ast
import importlib.metadata
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OPTIONAL = {"diffusers", "ram"}  # not installed for the tests

# Versions with a hole that this package could meet, and the advisory.
VULNERABLE = {
    "torch": ("2.6.0", "2.9.1"),  # CVE-2026-24747: code from files read with weights_only
    "lightning": ("2.6.0", "2.6.2", "2.6.3"),  # CVE-2026-31221; CVE-2026-44484
    "transformers": ("4.56.0", "5.0.0", "5.2.0", "5.4.0"),  # CVE-2026-4372, CVE-2026-5241
    "hydra-core": ("1.3.2", "1.3.6"),  # advisory of 2026: a configuration text runs code
    "jinja2": ("3.1.5",),  # CVE-2025-27516
    "pillow": ("12.1.0",),  # CVE-2026-42308 and those before it
}


def requirements() -> dict[str, Requirement]:
    declared = [*PROJECT["dependencies"]]
    for extra in PROJECT["optional-dependencies"].values():
        declared += extra
    read = [Requirement(entry) for entry in declared]
    return {_canonical(requirement.name): requirement for requirement in read}


def imported_packages() -> set[str]:
    names = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module)
    return {name.partition(".")[0] for name in names}


def _canonical(name: str) -> str:
    return name.lower().replace("_", "-")


def test_every_imported_package_is_declared() -> None:
    """A package that comes only with another may leave with that one's next version."""
    own = {"zsad", "hydra_plugins", *sys.stdlib_module_names}
    owners = importlib.metadata.packages_distributions()
    declared = requirements().keys()
    for name in sorted(imported_packages() - own - OPTIONAL):
        distributions = {_canonical(owner) for owner in owners[name]}
        assert distributions & declared, f"{name} belongs to {distributions}: pyproject.toml"


@pytest.mark.parametrize("package", VULNERABLE)
def test_versions_with_a_known_hole_are_excluded(package: str) -> None:
    allowed = requirements()[package].specifier
    for version in VULNERABLE[package]:
        assert version not in allowed, f"{package} {version} is allowed by {allowed}"


def test_the_pinned_versions_are_allowed() -> None:
    """``make setup`` installs exactly what the ranges allow."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if "==" in line)
    pinned = {_canonical(name): version for name, version in pinned.items()}
    ranges = requirements()
    checked = pinned.keys() & ranges.keys()
    for name in checked:
        assert pinned[name] in ranges[name].specifier, f"{name}=={pinned[name]}"
    assert len(checked) > 20
