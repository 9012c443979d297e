"""Histogram over the order of float32 scores: counted in constant memory instead of kept.

A float32 has an integer *key* in the same order. A bin holds the keys that agree but for their
last ``shift`` bits; only bins that hold something exist. ``shift`` is the smallest that leaves no
more bins than allowed, so that few distinct scores stay exact, wherever they lie. It, and with it
the whole histogram, depends on the counted scores and never on the order, the batches or the
processes: all columns are integers, and more scores can only coarsen. The lowest and the highest
score of all have bins to themselves, since clipped maps have many pixels there.

Keys are logarithmic towards 0, from both sides, and towards 1 from below, where probabilities
crowd. Scores that crowd elsewhere, in a range narrow against its distance from there, while others
spread over many powers of two, share bins too coarse for four exact digits: sort these.

Legend: n scores, p anomalous scores, k bins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int64
from torch import Tensor

from zsad.metrics.float_keys import keys_from_scores
from zsad.metrics.ranking import check_finite, sort_scores, sorting_indices
from zsad.metrics.shapes import AnomalousScores, Keys, Scores, Table, Weights

FEWEST_BINS = 2**4
MOST_BINS = 2**20

# The integer that stands for one region: 2²⁷ regions fit a column, 2¹⁸ pixels share one evenly.
REGION_WEIGHT = 2**36

# Columns of a histogram: smallest and largest key in a bin, then counts.
LOWEST = 0
HIGHEST = 1
NORMAL = 2
ANOMALOUS = 3
WEIGHT = 4


Starts = Int64[Tensor, " k"]  # index of the first key of each bin


@dataclass(frozen=True)
class Histogram:
    """Counts of scores.

    Attributes:
        bins: One row a bin, upwards, with the columns named above.
        shift: Bits of the keys that were given up.
    """

    bins: Int64[Tensor, "k 5"]
    shift: int = 0


def empty_histogram() -> Histogram:
    """Return a histogram without any score."""
    return Histogram(torch.zeros(0, 5, dtype=torch.int64))


def check_bins(bins: int) -> int:
    """Return ``bins``, the largest number of bins of a histogram.

    Raises:
        ValueError: A number that no histogram can have.
    """
    if not FEWEST_BINS <= bins <= MOST_BINS:
        raise ValueError(
            f"got bins={bins}, expected {FEWEST_BINS} to {MOST_BINS} (2^20); null keeps all "
            "scores instead"
        )
    return bins


def count_scores(
    anomalous: AnomalousScores, normal: Scores, weight: Weights, bins: int, shift: int = 0
) -> tuple[Histogram, Histogram]:
    """Count normal and anomalous scores apart, to be merged.

    Args:
        anomalous: Scores of anomalous items, taken as float32 like all scores.
        normal: Scores of normal items.
        weight: Weight of each anomalous item, in regions.
        bins: Largest number of bins.
        shift: Bits that are given up in any case.

    Raises:
        ValueError: NaN or infinite scores, which have no rank.

    >>> weight = torch.ones(1).double()
    >>> normal, anomalous = count_scores(torch.tensor([0.5]), torch.zeros(2), weight, bins=16)
    >>> normal.bins[:, NORMAL].tolist(), anomalous.bins[:, ANOMALOUS].tolist()
    ([2], [1])
    """
    anomalous = anomalous.float()
    normal = normal.float()
    check_finite("anomalous", anomalous)
    check_finite("normal", normal)
    order = sorting_indices(anomalous)
    weighted = (weight[order] * REGION_WEIGHT).round().long()
    normal_keys = keys_from_scores(sort_scores(normal))
    anomalous_keys = keys_from_scores(anomalous[order])
    return (
        _count_normal(normal_keys, bins, shift),
        _count_anomalous(anomalous_keys, weighted, bins, shift),
    )


def merge_histograms(parts: Sequence[Histogram], bins: int) -> Histogram:
    """Add histograms, giving up bits until at most ``bins`` bins are left.

    Their order changes nothing; the result is on the device of the last histogram.
    """
    shift = max(part.shift for part in parts)
    device = parts[-1].bins.device
    table = torch.cat([part.bins.to(device) for part in parts])
    table = table[sorting_indices(table[:, LOWEST])]
    while True:
        table = _merge_rows(table, shift)
        if len(table) <= bins:
            return Histogram(table, shift)
        shift += 1


def _count_normal(keys: Keys, bins: int, shift: int) -> Histogram:
    """Count ascending keys."""
    starts, shift = _fit_bins(keys, bins, shift)
    ends = _bin_ends(starts, len(keys))
    table = _new_table(keys, starts, ends)
    table[:, NORMAL] = ends - starts
    return Histogram(table, shift)


def _count_anomalous(keys: Keys, weight: Int64[Tensor, " n"], bins: int, shift: int) -> Histogram:
    """Count ascending keys with their weights."""
    starts, shift = _fit_bins(keys, bins, shift)
    ends = _bin_ends(starts, len(keys))
    table = _new_table(keys, starts, ends)
    table[:, ANOMALOUS] = ends - starts
    none = weight.new_zeros(1)
    total = torch.cat((none, weight.cumsum(0)))
    table[:, WEIGHT] = total[ends] - total[starts]
    return Histogram(table, shift)


def _fit_bins(keys: Keys, bins: int, shift: int) -> tuple[Starts, int]:
    """Give up bits until the keys fit into ``bins`` bins; return their starts and the shift."""
    starts = _bin_starts(keys, keys, shift)
    while len(starts) > bins:
        shift += 1
        starts = _bin_starts(keys, keys, shift)
    return starts, shift


def _bin_ends(starts: Starts, total: int) -> Starts:
    ends = starts.roll(-1)
    ends[-1:] = total
    return ends


def _new_table(keys: Keys, starts: Starts, ends: Starts) -> Table:
    table = keys.new_zeros(len(starts), 5)
    table[:, LOWEST] = keys[starts]
    table[:, HIGHEST] = keys[ends - 1]
    return table


def _merge_rows(table: Int64[Tensor, "n 5"], shift: int) -> Table:
    """Add the rows, ascending, that fall into one bin."""
    lowest = table[:, LOWEST].contiguous()
    highest = table[:, HIGHEST]
    starts = _bin_starts(lowest, highest, shift)
    if len(starts) == len(table):
        return table
    is_start = torch.zeros_like(lowest)
    is_start.index_fill_(0, starts, 1)
    row = is_start.cumsum(0) - 1
    merged = table.new_zeros(len(starts), 5)
    merged.index_add_(0, row, table)
    first_keys = lowest[starts]
    merged[:, LOWEST] = first_keys
    merged[:, HIGHEST] = first_keys.scatter_reduce(0, row, highest, "amax")
    return merged


def _bin_starts(lowest: Keys, highest: Keys, shift: int) -> Starts:
    """Return the start of each bin; ``lowest`` is ascending.

    The extreme keys share their bins with no other key.
    """
    if not len(lowest):
        return lowest
    is_start = torch.ones_like(lowest, dtype=torch.bool)
    bin_numbers = lowest >> shift
    before = bin_numbers[:-1]
    torch.ne(bin_numbers[1:], before, out=is_start[1:])
    after_first = torch.searchsorted(lowest, lowest[0], right=True)
    is_start[after_first:][:1] = True
    last = torch.searchsorted(lowest, highest.max())
    is_start[last] = True
    return is_start.nonzero().flatten()
