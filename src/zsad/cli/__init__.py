"""``zsad``: everything that is not training or testing. Every room adds its commands to the one ``app``."""

from zsad.cli import cache, data, tables, use
from zsad.cli.options import app

__all__ = ["app", "cache", "data", "tables", "use"]
