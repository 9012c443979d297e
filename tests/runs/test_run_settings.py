"""Settings that may change between two starts of a run exist, and all others decide."""

from __future__ import annotations

import pytest

from tests.config.compositions import composed, leaves, other_value
from zsad.config import sweeps
from zsad.runs.run_settings import MAY_CHANGE, OF_A_TEST, settings_differences

SCRIPTS = ("train", "test")


def all_keys() -> set[str]:
    keys = set(leaves(composed("test", "protocol=medical", "trainer=smoke")))
    return keys | set(leaves(composed("train")))


@pytest.mark.parametrize("place", [*MAY_CHANGE, *OF_A_TEST])
def test_a_listed_key_exists(place: str) -> None:
    """A renamed key would leave an entry behind that nothing is called by."""
    assert any(key == place or key.startswith(f"{place}.") for key in all_keys())


@pytest.mark.parametrize("root", sorted(set(sweeps.INERT) - {"hydra"}))
def test_a_key_that_names_no_sweep_exists(root: str) -> None:
    assert any(key.partition(".")[0] == root for key in all_keys())


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("model", ["dhrclip_plus", "sam3", "saa_plus"])
def test_every_other_key_decides(script: str, model: str) -> None:
    then = leaves(composed(script, f"model={model}"))
    for key, value in then.items():
        may_change = any(key == place or key.startswith(f"{place}.") for place in MAY_CHANGE)
        differences = settings_differences(then, {**then, key: other_value(value)})
        assert bool(differences) != may_change, key
