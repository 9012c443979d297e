"""One process of several: which of them decides for the run."""

from __future__ import annotations

import os


def is_first_process() -> bool:
    """Tell whether this process decides for its run; the others start while the first one already writes."""
    return all(os.environ.get(rank, "0") == "0" for rank in ("LOCAL_RANK", "SLURM_PROCID", "RANK"))
