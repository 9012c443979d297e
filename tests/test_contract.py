"""The contract of methods: who keeps which Protocol, on every Python that is supported."""

from __future__ import annotations

import importlib
import inspect
import json
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest
import yaml

from zsad import contract

ROOT = Path(__file__).parents[1]
MODELS = ROOT / "conf" / "model"
STEMS = sorted(path.stem for path in MODELS.glob("*.yaml"))
PROTOCOLS = {
    name: value
    for name, value in inspect.getmembers(contract, inspect.isclass)
    if value.__module__ == contract.__name__
}

ANOMALYCLIP = {"Method", "Trainable", "FeatureCacheable", "Rewordable"}
WHO = {
    "AnomalyCLIP": ANOMALYCLIP,
    "CLIPBaseline": {"Method", "Rewordable"},
    "DHRCLIP": ANOMALYCLIP,
    "DOTPrompt": {"Method", "FewShot", "Captioned"},
    "SAA": {"Method", "DatasetAware"},
    "SAM3": {"Method", "Trainable", "DatasetAware"},
    "WinCLIP": {"Method", "FewShot", "Rewordable"},
}

# Runs on a Python without any package: classes with the same verbs are asked the same questions.
PROBES = """
import importlib.util
import json
import sys

source, verbs_of = sys.argv[1], json.loads(sys.argv[2])
spec = importlib.util.spec_from_file_location("contract", source)
contract = importlib.util.module_from_spec(spec)
sys.modules["contract"] = contract
spec.loader.exec_module(contract)
kept = {}
for name, verbs in verbs_of.items():
    made = type(name, (), {verb: lambda self: None for verb in verbs})
    kept[name] = []
    for protocol in json.loads(sys.argv[3]):
        asked = getattr(contract, protocol)
        assert issubclass(made, asked) == isinstance(made(), asked)
        if issubclass(made, asked):
            kept[name].append(protocol)
print(json.dumps(kept))
"""


@cache
def method_class(stem: str) -> type:
    """The class of a model's method, from its YAML file or from the files that it builds on."""
    content = yaml.safe_load((MODELS / f"{stem}.yaml").read_text(encoding="utf-8"))
    target = content.get("model", {}).get("method", {}).get("_target_")
    if target is not None:
        module, _, name = target.rpartition(".")
        return getattr(importlib.import_module(module), name)
    (parent,) = [entry for entry in content["defaults"] if entry in STEMS]
    return method_class(parent)


def protocols_of(asked: type) -> set[str]:
    return {name for name, protocol in PROTOCOLS.items() if issubclass(asked, protocol)}


def interpreters(version: str) -> list[str]:
    """Paths of a Python version that may run: the one on PATH, and those that pyenv installed."""
    on_path = shutil.which(f"python{version}")
    of_pyenv = (Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python")
    return ([on_path] if on_path else []) + [str(path) for path in of_pyenv]


def runs(python: str) -> bool:
    return subprocess.run([python, "--version"], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("stem", STEMS)
def test_every_model_keeps_its_protocols(stem: str) -> None:
    method = method_class(stem)
    assert protocols_of(method) == WHO[method.__name__]


def test_every_protocol_is_kept_by_some_model() -> None:
    kept = set().union(*(protocols_of(method_class(stem)) for stem in STEMS))
    assert kept == set(PROTOCOLS)


def test_protocols_hold_methods_alone() -> None:
    """A property is evaluated by ``isinstance``, and an attribute makes ``issubclass`` raise."""
    for protocol in PROTOCOLS.values():
        assert protocol.__doc__
        assert "Example::" in protocol.__doc__
        assert not protocol.__annotations__
        members = {name: value for name, value in vars(protocol).items() if name[0] != "_"}
        assert members
        for name, member in members.items():
            function = getattr(member, "__func__", member)
            assert inspect.isfunction(function), f"{protocol.__name__}.{name}"
            assert function.__doc__, f"{protocol.__name__}.{name}"


@pytest.mark.parametrize("stem", STEMS)
def test_methods_name_their_arguments_as_the_contract_does(stem: str) -> None:
    """``isinstance`` compares names of verbs alone; keyword arguments must fit, too."""
    method = method_class(stem)
    for name in protocols_of(method):
        for verb, promised in inspect.getmembers(PROTOCOLS[name], inspect.isfunction):
            if not verb.startswith("_"):
                expected = list(inspect.signature(promised).parameters)
                assert list(inspect.signature(getattr(method, verb)).parameters) == expected, verb


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_bare_python_answers_the_probes_alike(version: str) -> None:
    found = [python for python in interpreters(version) if runs(python)]
    if not found:
        pytest.skip(f"no python{version} that runs")
    verbs_of = {
        method.__name__: [verb for verb in dir(method) if not verb.startswith("_")]
        for method in map(method_class, STEMS)
    }
    arguments = [contract.__file__, json.dumps(verbs_of), json.dumps(sorted(PROTOCOLS))]
    answer = subprocess.run(
        [found[0], "-I", "-S", "-c", PROBES, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout) == {name: sorted(kept) for name, kept in WHO.items()}
