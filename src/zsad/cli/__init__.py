"""``zsad``: everything that is not training or testing. Every room adds its commands to the one ``app``."""

from zsad.cli import cache, datasets, models, runs
from zsad.cli.options import app

__all__ = ["app", "cache", "datasets", "models", "runs"]
