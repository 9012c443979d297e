"""Rows of a user's table: CSV as programs and spreadsheets write it, or a JSON object a line."""

from __future__ import annotations

import csv
import io
import json
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DELIMITERS = ",;\t"
_SEPARATOR = "sep="  # of a line above the head, as Excel writes and reads it
_COMMENT = "#"


@dataclass(frozen=True)
class TableRow:
    """A row of a table.

    Attributes:
        number: Its line in the file, from 1.
        values: Head → value, stripped.
    """

    number: int
    values: dict[str, str]


def read_rows(table: Path) -> tuple[list[str], list[TableRow]]:
    """Return the heads of a table, and its rows.

    Blank lines, comments (``#``) and a ``sep=;`` line above the head are passed over.

    Raises:
        ValueError: Neither UTF-8 nor UTF-16, or a line that is no JSON; the message numbers it.
    """
    text = _read_text(table)
    if text.lstrip().startswith("{"):
        rows = list(_json_rows(text, table))
        heads: dict[str, None] = {}
        for row in rows:
            heads |= dict.fromkeys(row.values)
        return list(heads), rows
    return _csv_rows(text)


def _read_text(table: Path) -> str:
    """Read a table in UTF-8, or in the UTF-16 that spreadsheets write with a mark at its start."""
    data = table.read_bytes()
    encoding = "utf-8-sig"
    if data.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        encoding = "utf-16"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{table} is not in UTF-8 (byte {error.start}): save it again as CSV in UTF-8, "
            f"lest names be misread"
        ) from error


def _csv_rows(text: str) -> tuple[list[str], list[TableRow]]:
    lines = io.StringIO(text, newline="").readlines()
    skipped, delimiter = _above_head(lines)
    body = lines[skipped:]
    if delimiter is None:
        head = body[0] if body else ""
        delimiter = max(DELIMITERS, key=head.count)
    reader = csv.reader(body, delimiter=delimiter)
    heads = next(reader, [])
    rows: list[TableRow] = []
    first_line = reader.line_num + 1
    for cells in reader:
        values = dict.fromkeys(heads, "")
        for head, cell in zip(heads, cells, strict=False):
            values[head] = cell.strip()
        rows.append(TableRow(skipped + first_line, values))
        first_line = reader.line_num + 1
    return heads, rows


def _above_head(lines: Sequence[str]) -> tuple[int, str | None]:
    """Return the number of lines above the head, and the delimiter that one of them names."""
    delimiter: str | None = None
    for number, line in enumerate(lines):
        content = line.strip("\r\n").strip('"')
        if content.lower().startswith(_SEPARATOR):
            delimiter = content[len(_SEPARATOR) :][:1] or None
        elif content.strip(" \t,;") and not content.lstrip().startswith(_COMMENT):
            return number, delimiter
    return len(lines), delimiter


def _json_rows(text: str, table: Path) -> Iterator[TableRow]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            content = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{table}: row {number} is no JSON object ({error})") from error
        if not isinstance(content, dict):
            raise ValueError(f"{table}: row {number} is no JSON object")
        yield TableRow(number, {head: _as_text(value) for head, value in content.items()})


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    return str(value).strip()
