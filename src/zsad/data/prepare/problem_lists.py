"""Problems of a download: the message about them, and the files that list all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from zsad.atomic_write import write_whole
from zsad.data.index_entries import SHOWN_PROBLEMS, Problem

PROBLEMS = "problems"
SKIPPED = "skipped"
ADVICE = {  # kind of problem → sentence that mends it
    "unreadable": "fetch these files again",
    "missing file": "fetch these files again, or mend the paths of the table",
    "sizes differ": "save each mask in the size of its image; width and height are exchanged where "
    "an image is turned by EXIF and its mask is not",
    "listed twice": "keep one of these rows",
    "mask of two images": "give each image a mask of its own",
    "no mask": "masks are paired by name: --mask-suffix, --mask-prefix",
}


def refusal(index: Path, root: Path, problems: Sequence[Problem]) -> ValueError:
    """Return the error that counts the problems of a download.

    The whole list goes to a file where it is too long for a screen.

    Args:
        index: The index that is not written.
        root: Folder of the download.
        problems: At least one.
    """
    counts = Counter(problem.kind for problem in problems)
    kinds = [f"{count} x {kind}" for kind, count in counts.items()]
    lines = [f"no index written for {index.stem}: {root} has {', '.join(kinds)}"]
    for problem in problems[:SHOWN_PROBLEMS]:
        lines.append(f"  {problem}")
    more = len(problems) - SHOWN_PROBLEMS
    if more > 0:
        file = _write_list(index, PROBLEMS, problems)
        lines.append(f"  … and {more} more, all in {file}")
    for kind in counts:
        if kind in ADVICE:
            lines.append(f"{kind}: {ADVICE[kind]}")
    lines.append(
        "(--on-bad-image skip leaves out images that cannot be used, --allow-missing-masks accepts "
        "anomalous images without masks)"
    )
    return ValueError("\n".join(lines))


def list_skipped(index: Path, problems: Sequence[Problem], count: int) -> list[str]:
    """Write the list of skipped images beside an index and return the note about it.

    The lists of an earlier call are removed.

    Args:
        index: The index that leaves them out.
        problems: Why they were skipped; none where nothing was.
        count: Number of images.
    """
    for kind in (PROBLEMS, SKIPPED):
        _list_file(index, kind).unlink(missing_ok=True)
    if not problems:
        return []
    file = _write_list(index, SKIPPED, problems)
    return [f"{count} of the images skipped; which and why: {file}"]


def _write_list(index: Path, kind: str, problems: Sequence[Problem]) -> Path:
    lines = [f"{problem}\n" for problem in problems]
    return write_whole(_list_file(index, kind), "".join(lines))


def _list_file(index: Path, kind: str) -> Path:
    return index.with_name(f"{index.stem}.{kind}.txt")
