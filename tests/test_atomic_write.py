"""A file is there whole, or as it was before."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from zsad.atomic_write import remove_partial, write_whole


def test_a_file_and_its_folders_are_written(tmp_path: Path) -> None:
    file = write_whole(tmp_path / "a" / "b.txt", "né", durable=True)
    assert file.read_bytes() == "né".encode()
    assert [one.name for one in file.parent.iterdir()] == ["b.txt"]


@pytest.mark.parametrize("durable", [True, False])
def test_a_write_that_fails_leaves_the_earlier_file_and_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durable: bool
) -> None:
    file = write_whole(tmp_path / "b.txt", "earlier")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(*((os, "fsync") if durable else (Path, "replace")), full)
    with pytest.raises(OSError, match="No space left") as failure:
        write_whole(file, "later", durable)
    assert failure.value.errno == errno.ENOSPC
    assert failure.value.filename == str(file)
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("b.txt", "earlier")]


def test_only_begun_files_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    kept = [write_whole(tmp_path / name, "") for name in ("a.partial", "run/.hidden", "run/b.txt")]
    write_whole(tmp_path / "run" / "heatmaps" / ".c.png.123.partial", "half")
    remove_partial(tmp_path)
    assert sorted(one for one in tmp_path.rglob("*") if one.is_file()) == sorted(kept)


def test_a_name_may_be_as_long_as_the_file_system_allows(tmp_path: Path) -> None:
    longest = os.pathconf(tmp_path, "PC_NAME_MAX")
    for name in ("a" * longest, "é" * (longest // 2)):
        assert write_whole(tmp_path / name, "whole").read_text() == "whole"
    assert len(list(tmp_path.iterdir())) == 2
