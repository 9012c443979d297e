"""The table of results: on screen, as Markdown and as CSV. Percent with one decimal, as the papers print them."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from zsad.atomic_write import write_whole
from zsad.types import Results

_SUPERSCRIPT = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
MEAN = "mean"


@dataclass(frozen=True)
class Rows:
    """What the rows of a table are.

    Attributes:
        heading: ``category``, or ``dataset`` where a run tested several.
        groups: The group of each row; every group gets a mean of its own. Empty for one group.
    """

    heading: str = "category"
    groups: Mapping[str, str] = field(default_factory=dict)

    def means(self, results: Results) -> dict[str, Results]:
        """Return what each mean is over: the rows of a group, where there are several groups, and last all rows."""
        groups = {self.groups.get(row, "") for row in results.values}
        own = {f"{MEAN} of {name}": _only(results, self, name) for name in sorted(groups - {""})}
        return {**(own if len(groups) > 1 else {}), MEAN: results}

    def sorted(self, results: Results) -> list[str]:
        """Sort rows by group, and as people do: ``pcb2`` before ``pcb10``."""
        return sorted(results.values, key=lambda row: (self.groups.get(row, ""), _natural(row)))


CATEGORIES = Rows()


def join_datasets(tested: Mapping[str, Results]) -> Results:
    """Return the means of several datasets as the rows of one table; every dataset weighs the same in its mean."""
    return Results(
        values={name: results.mean for name, results in tested.items()},
        reasons={name: _undefined(results) for name, results in tested.items()},
        images={name: _totals(results) for name, results in tested.items()},
    )


def screen_table(
    results: Results, title: str, notes: Sequence[str] = (), rows: Rows = CATEGORIES
) -> Table:
    """Lay out the results for ``rich.print``; notes and the reasons of what is undefined stand below."""
    heading, body, means = _cells(results, rows)
    caption = Text(
        "\n".join(_footnotes(results, notes, rows))
    )  # Text: a "[" in a name is a bracket, not markup
    table = Table(
        title=Text(title),
        caption=caption,
        caption_justify="left",
        box=SIMPLE_HEAD,
        padding=0,
        show_edge=False,
    )
    for name in heading:
        words = Text(name.replace(" ", "\n"))  # narrow columns: all metrics fit 80 characters
        table.add_column(words, justify="left" if name == heading[0] else "right", no_wrap=True)
    for row in body:
        table.add_row(*map(Text, row))
    table.add_section()
    for mean in means:
        table.add_row(*map(Text, mean), style="bold")
    return table


def markdown_table(
    results: Results, title: str, notes: Sequence[str] = (), rows: Rows = CATEGORIES
) -> str:
    """Write the results as Markdown, with notes and the reasons of what is undefined below."""
    heading, body, means = _cells(results, rows)
    marked = [[f"**{cell}**" if cell else "" for cell in mean] for mean in means]
    alignment = [":---", *("---:" for _ in heading[1:])]
    lines = [
        f"| {' | '.join(map(_escaped, row))} |" for row in (heading, alignment, *body, *marked)
    ]
    below = [f"- {line}" for line in _footnotes(results, notes, rows)]
    return "\n".join([f"# {title}", "", *lines, *([""] if below else []), *below, ""])


def csv_table(results: Results, notes: Sequence[str] = (), rows: Rows = CATEGORIES) -> str:
    """Write the results as CSV: metrics in percent with four decimals, empty where undefined; remarks last.

    The remarks of a category say what is undefined and why; those of the mean are the notes.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([rows.heading, "normal", "defective", *results.metrics, "remarks"])
    for category in rows.sorted(results):
        remarks = [f"{name}: {reason}" for name, reason in results.reasons[category].items()]
        writer.writerow(
            [category, *results.images[category], *_exact(results, category), "; ".join(remarks)]
        )
    for name, group in rows.means(results).items():
        remark = "; ".join(notes) if name == MEAN else ""
        writer.writerow([name, *_totals(group), *map(_number, group.mean.values()), remark])
    return buffer.getvalue()


def intervals_table(results: Results) -> str:
    """Write the confidence intervals as CSV, in percent with four decimals; the means last."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["category", "metric", "low", "high"])
    for row in CATEGORIES.sorted(results):
        for metric, ends in results.intervals.get(row, {}).items():
            writer.writerow([row, metric, *map(_number, ends)])
    for metric, ends in results.mean_intervals.items():
        writer.writerow([MEAN, metric, *map(_number, ends)])
    return buffer.getvalue()


def write_tables(
    results: Results, folder: Path, title: str, notes: Sequence[str] = (), rows: Rows = CATEGORIES
) -> tuple[Path, Path]:
    """Write ``results.csv`` and ``results.md`` and return their paths; ``intervals.csv`` too if there are any."""
    if results.mean_intervals:
        write_whole(folder / "intervals.csv", intervals_table(results))
    return (
        write_whole(folder / "results.csv", csv_table(results, notes, rows)),
        write_whole(folder / "results.md", markdown_table(results, title, notes, rows)),
    )


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|")


def _cells(results: Results, rows: Rows) -> tuple[list[str], list[list[str]], list[list[str]]]:
    """Return the table as text: heading, rows, means."""
    reasons = _reasons(results, rows)
    heading, body = [rows.heading, "good", "bad", *map(_title, results.metrics)], []
    for row in rows.sorted(results):
        values = results.values[row]
        cells = [
            _percent(values[name], _mark(results, row, name, reasons)) for name in results.metrics
        ]
        body.append([row, *map(str, results.images[row]), *cells])
    means = [
        [name, *map(str, _totals(group)), *(_percent(value, "") for value in group.mean.values())]
        for name, group in rows.means(results).items()
    ]
    return heading, body, means


def _only(results: Results, rows: Rows, group: str) -> Results:
    """Return the rows of one group."""
    names = [name for name in results.values if rows.groups.get(name, "") == group]
    return Results(
        values={name: results.values[name] for name in names},
        reasons={name: results.reasons[name] for name in names},
        images={name: results.images[name] for name in names},
    )


def _undefined(results: Results) -> dict[str, str]:
    """Return the metrics that no category of a dataset defines, and a reason."""
    return {
        metric: next(reasons[metric] for reasons in results.reasons.values() if metric in reasons)
        for metric, value in results.mean.items()
        if math.isnan(value) and any(metric in reasons for reasons in results.reasons.values())
    }


def _title(metric: str) -> str:
    """Write ``pixel_aupro_200`` as ``pixel AUPRO 200``."""
    kind, _, name = metric.partition("_")
    return f"{kind} {name.replace('_', ' ').upper()}"


def _percent(value: float, mark: str) -> str:
    return f"n/a{mark}" if math.isnan(value) else f"{100 * value:.1f}"


def _mark(results: Results, category: str, metric: str, reasons: list[str]) -> str:
    reason = results.reasons[category].get(metric)
    return "" if reason is None else str(reasons.index(reason) + 1).translate(_SUPERSCRIPT)


def _reasons(results: Results, rows: Rows) -> list[str]:
    """Return the different reasons, in the order in which the table meets them."""
    met = (
        results.reasons[category].get(name)
        for category in rows.sorted(results)
        for name in results.metrics
    )
    return list(dict.fromkeys(reason for reason in met if reason is not None))


def _footnotes(results: Results, notes: Sequence[str], rows: Rows) -> list[str]:
    reasons = _reasons(results, rows)
    lines = [
        f"{str(i).translate(_SUPERSCRIPT)} {reason}" for i, reason in enumerate(reasons, start=1)
    ]
    if reasons:
        lines.append(f"The mean of a metric leaves out each {rows.heading} where it is n/a.")
    if results.mean_intervals:
        ranges = (
            f"{_title(name)} {100 * a:.1f}–{100 * b:.1f}"
            for name, (a, b) in results.mean_intervals.items()
        )
        lines.append(f"95 % intervals of the means, by resampling the images: {', '.join(ranges)}.")
    return [*lines, *notes]


def _exact(results: Results, category: str) -> list[str]:
    return [_number(results.values[category][name]) for name in results.metrics]


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{100 * value:.4f}"


def _totals(results: Results) -> tuple[int, int]:
    normal, anomalous = zip(*results.images.values(), strict=True) if results.images else ((), ())
    return sum(normal), sum(anomalous)


def _natural(name: str) -> list[tuple[int, str]]:
    """Split a name into its numbers and the text before each.

    >>> _natural("pcb10")
    [(10, 'pcb'), (-1, '')]
    """
    return [
        (int(number) if number else -1, text)
        for text, number in re.findall(r"([^0-9]*)([0-9]*)", name.lower())
    ]
