"""Names that a dataset may have: the command line can say them, and no other dataset has them."""

from __future__ import annotations

import re
from pathlib import Path

from zsad.data.layouts import LAYOUTS
from zsad.data.locations import GENERATED, ROOTS_FILE, saved_roots
from zsad.data.prepare.user_folders import USER_LAYOUTS

LONGEST_NAME = 100  # characters; names of files and run folders hold more than the name
# Words that the command line reads as values, and a row of every table.
RESERVED = ("null", "true", "false", "nan", "inf", "mean", Path(ROOTS_FILE).stem)


def check_name(name: str, layout: str | None) -> None:
    """Raise if ``dataset=NAME`` would not mean this name, or no file can have it."""
    if name in USER_LAYOUTS and layout is None:
        raise ValueError(
            f"give the images a name: zsad prepare {name} ROOT --name NAME; it is then dataset=NAME"
        )
    is_word = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name) is not None
    is_number = re.fullmatch(r"[0-9][0-9_]*([eE][+-]?[0-9_]+)?", name) is not None
    is_sayable = is_word and not is_number and len(name) <= LONGEST_NAME
    if not is_sayable or name.lower() in RESERVED:
        raise ValueError(
            f"{name!r} cannot name a dataset: use the letters a-z, digits, _ and -, at most "
            f"{LONGEST_NAME} of them and not digits alone, such as set_2024 "
            f"(nor {', '.join(RESERVED)})"
        )


def require_free_name(
    name: str, folder: Path, layout: str | None, data_json: Path, overwrite: bool
) -> None:
    """Raise if a name belongs to another dataset.

    Args:
        name: Name of the dataset.
        folder: Folder of its images.
        layout: Layout that was asked for; ``None`` for that of the name.
        data_json: Folder of the indexes.
        overwrite: Replace a dataset of another folder.

    Raises:
        ValueError: The name of a known download or of a generated dataset, for a user's own images;
            or of a dataset whose images lie in another folder that is still there.
    """
    is_own = layout in USER_LAYOUTS
    if is_own and (name in LAYOUTS or name.startswith(f"{GENERATED}_")):
        raise ValueError(
            f"{name} is the name of a known dataset, which has a mask rule and numbers of its own: "
            f"give your images another --name"
        )
    if overwrite or not (data_json / f"{name}.json").is_file():
        return
    saved = saved_roots(data_json).get(name)
    if saved is None or not Path(saved).is_dir() or Path(saved).resolve() == folder.resolve():
        return
    raise ValueError(
        f"the name {name} is taken by the images in {saved}, not {folder}: give these another "
        f"--name, or replace that dataset, its mask rule included, with --overwrite"
    )
