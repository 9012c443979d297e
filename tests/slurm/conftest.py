"""One cluster for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.slurm.cluster import cluster, missing


@pytest.fixture(scope="session")
def slurm() -> Iterator[dict[str, str]]:
    """The environment in which a running cluster is reached."""
    if reason := missing():
        pytest.skip(reason)
    with ExitStack() as stack:
        try:
            environment = stack.enter_context(cluster())
        except RuntimeError as error:  # a container may forbid what the daemons need
            pytest.skip(f"SLURM is installed and does not start here: {error}")
        yield environment
