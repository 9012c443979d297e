"""The ``zsad`` command: datasets, models, finished runs and the feature cache.

Every module adds its commands to the one ``app``.
"""

# The order of the commands in ``zsad --help``.
from zsad.cli import datasets, models, runs, cache  # noqa: I001
from zsad.cli.options import app

__all__ = ["app", "cache", "datasets", "models", "runs"]
