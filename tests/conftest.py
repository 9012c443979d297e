"""Switches and fixtures that more than one room of the tests needs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
sys.path.insert(0, str(TESTS / "golden"))  # tiny_clip.py: regenerates the weights of the golden vectors


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--golden",
        type=Path,
        default=TESTS / "golden",
        metavar="DIR",
        help="folder of golden vectors for tests/parity (default: the project's own, tests/golden)",
    )
