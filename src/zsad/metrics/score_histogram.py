"""Scores counted instead of kept: a histogram over the order of float32 numbers, in constant memory.

A float32 has an integer *key* in the same order. A bin holds the keys that agree but for their last ``shift`` bits;
only bins that hold something exist. ``shift`` is the smallest that leaves no more bins than allowed, so that few
distinct scores stay exact, wherever they lie. It, and with it the whole histogram, depends on what was counted and
never on the order, the batches or the processes: all columns are integers, and more scores can only coarsen. The lowest
and the highest score of all have bins to themselves, since clipped maps have many pixels there.

Keys are logarithmic towards 0, from both sides, and towards 1 from below, where probabilities crowd. Scores that crowd
elsewhere, in a range narrow against its distance from there, while others spread over many powers of two, share bins
too coarse for four exact digits: sort these.

Legend: n scores, p anomalous ones, k bins, t thresholds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Float32, Float64, Int64
from torch import Tensor

from zsad.metrics.operating_points import OperatingPoints
from zsad.metrics.ranking import Ranking, check_finite, sort_scores, sorting_indices

FEWEST_BINS, MOST_BINS = 2**4, 2**20
REGION_WEIGHT = (
    2**36
)  # the integer that stands for one region: 2²⁷ regions fit a column, 2¹⁸ pixels share one evenly
LOWEST, HIGHEST, NORMAL, ANOMALOUS, WEIGHT = range(
    5
)  # columns: smallest and largest key met in a bin, then counts
_HALF, _ONE, _SIGN = 0x3F000000, 0x3F800000, -0x80000000  # the bits of 0.5, 1 and -0 as float32


@dataclass(frozen=True)
class Histogram:
    """What was counted.

    Attributes:
        bins: One row a bin, upwards, with the columns named above.
        shift: Bits of the keys that were given up.
    """

    bins: Int64[Tensor, "k 5"]
    shift: int = 0


def empty_histogram() -> Histogram:
    """Return the histogram of nothing."""
    return Histogram(torch.zeros(0, 5, dtype=torch.int64))


def check_bins(bins: int) -> int:
    """Return ``bins``; raise ValueError where there can be no histogram of so many."""
    if not FEWEST_BINS <= bins <= MOST_BINS:
        raise ValueError(
            f"got bins={bins}, expected {FEWEST_BINS} to {MOST_BINS} (2^20); null keeps all scores instead"
        )
    return bins


def add(
    counted: Histogram,
    anomalous: Float[Tensor, " p"],
    normal: Float[Tensor, " n"],
    weight: Float64[Tensor, " p"],
    bins: int,
) -> Histogram:
    """Count more scores, with at most so many bins in the end.

    Args:
        counted: What was counted before.
        anomalous: Scores of anomalous items, taken as float32 like all scores.
        normal: Scores of normal items.
        weight: Weight of each anomalous item, in regions.
        bins: The most bins that may be used.

    Raises ValueError for NaN or infinite scores, which have no rank.

    >>> weight = torch.ones(1).double()
    >>> add(empty_histogram(), torch.tensor([0.5]), torch.zeros(2), weight, bins=16).bins[:, 2:4]
    tensor([[2, 0],
            [0, 1]])
    """
    return merge_histograms(
        [counted, *count_scores(anomalous, normal, weight, bins, counted.shift)], bins
    )


def count_scores(
    anomalous: Float[Tensor, " p"],
    normal: Float[Tensor, " n"],
    weight: Float64[Tensor, " p"],
    bins: int,
    shift: int = 0,
) -> tuple[Histogram, Histogram]:
    """Count normal and anomalous scores apart, to be joined; like ``add``. ``shift`` bits are given up in any case."""
    anomalous, normal = anomalous.float(), normal.float()
    for name, scores in (("anomalous", anomalous), ("normal", normal)):
        check_finite(name, scores)
    order = sorting_indices(anomalous)
    weighted = (weight[order] * REGION_WEIGHT).round().long()
    return (
        _histogram(keys_from_scores(sort_scores(normal)), None, bins, shift),
        _histogram(keys_from_scores(anomalous[order]), weighted, bins, shift),
    )


def merge_histograms(parts: Sequence[Histogram], bins: int) -> Histogram:
    """Add histograms, giving up bits until at most so many bins are left, on the device of the last one.

    Their order changes nothing.
    """
    shift = max(part.shift for part in parts)
    table = torch.cat([part.bins.to(parts[-1].bins.device) for part in parts])
    table = table[sorting_indices(table[:, LOWEST])]
    while True:
        table = _merge_rows(table, shift)
        if len(table) <= bins:
            return Histogram(table, shift)
        shift += 1


@dataclass(frozen=True)
class BinnedRanking(Ranking):
    """The order of the scores as a histogram knows it.

    What is tied in truth is tied here; items of one bin with different scores are taken to lie there in a random order.
    """

    histogram: Histogram

    @cached_property
    def counts(self) -> tuple[int, int]:
        """How many normal and how many anomalous items there are."""
        normal, anomalous = self.histogram.bins[:, [NORMAL, ANOMALOUS]].sum(0).tolist()
        return normal, anomalous

    @cached_property
    def points(self) -> OperatingPoints:
        """The operating points, one at each bin that holds anomalous items."""
        bins = self.histogram.bins.flip(0)
        total = bins.cumsum(0)
        bins, total = bins[bins[:, ANOMALOUS] > 0], total[bins[:, ANOMALOUS] > 0]
        return OperatingPoints(
            threshold=scores_from_keys(bins[:, LOWEST]),
            true_positives=total[:, ANOMALOUS].double(),
            overlap=total[:, WEIGHT].double() / total[-1, WEIGHT].double(),
            false_positives=total[:, NORMAL].double(),
            false_positives_above=(total[:, NORMAL] - bins[:, NORMAL]).double(),
            normal=total.new_tensor(self.counts[0]).double(),
            mixed=bins[:, HIGHEST] > bins[:, LOWEST],
        )

    @property
    def score_range(self) -> Float32[Tensor, "2"]:
        """The lowest and the highest score."""
        return scores_from_keys(
            torch.stack((self.histogram.bins[0, LOWEST], self.histogram.bins[-1, HIGHEST]))
        )

    def count_above(
        self, thresholds: Float64[Tensor, " t"]
    ) -> tuple[Float64[Tensor, " t"], Float64[Tensor, " t"]]:
        """Count normal items that score more than each threshold; the weighted fraction of anomalous ones that do.

        The items of a bin are taken to be spread evenly between its lowest and its highest score.
        """
        bins = self.histogram.bins
        low, high = (
            scores_from_keys(bins[:, LOWEST]).double(),
            scores_from_keys(bins[:, HIGHEST]).double(),
        )
        first = torch.searchsorted(
            high, thresholds, right=True
        )  # the lowest bin that is above, or cut
        cut = first.clamp(max=len(bins) - 1)
        width = (high - low)[cut]
        share = torch.where(width > 0, (high[cut] - thresholds) / width, 1.0).clamp(0, 1)
        share = torch.where(first < len(bins), share, 0.0)[:, None]
        total = bins.sum(0)
        found = (total - bins.cumsum(0))[cut] + share * bins[cut]
        return found[:, NORMAL].double(), found[:, WEIGHT] / total[WEIGHT]


def keys_from_scores(scores: Float32[Tensor, " n"]) -> Int64[Tensor, " n"]:
    """Map float32 numbers to integers in the same order.

    A key is the number's bits, for negative numbers their negative. Between one half and one it counts the bits of
    1 - x from above, which float32 holds without rounding.

    >>> keys_from_scores(torch.tensor([-1.0, -0.0, 0.0, 0.5, 0.75, 1.0])).tolist()
    [-1065353216, 0, 0, 1056964608, 1065353216, 2113929216]
    """
    bits = _bits(scores)
    keys = torch.where(scores > 0.5, 2 * _HALF - _bits(1 - scores), bits)
    if (scores > 1).any():
        keys = torch.where(scores > 1, bits - _ONE + 2 * _HALF, keys)
    return torch.where(bits < 0, _SIGN - bits, keys) if (bits < 0).any() else keys


def scores_from_keys(keys: Int64[Tensor, " k"]) -> Float32[Tensor, " k"]:
    """Map keys back to their scores.

    >>> scores_from_keys(keys_from_scores(torch.tensor([-0.5, 0.25, 0.75, 1.5]))).tolist()
    [-0.5, 0.25, 0.75, 1.5]
    """
    folded = (keys > _HALF) & (keys <= 2 * _HALF)
    bits = torch.where(keys > 2 * _HALF, keys - 2 * _HALF + _ONE, keys.abs())
    scores = torch.where(folded, 2 * _HALF - keys, bits).int().view(torch.float32)
    return torch.where(folded, 1 - scores, torch.where(keys < 0, -scores, scores))


def _bits(scores: Float32[Tensor, " n"]) -> Int64[Tensor, " n"]:
    return scores.contiguous().view(torch.int32).long()


def _histogram(
    keys: Int64[Tensor, " n"], weight: Int64[Tensor, " n"] | None, bins: int, shift: int
) -> Histogram:
    """Count ascending keys, as anomalous ones where they have a weight, giving up bits until they fit."""
    while len(starts := _bin_starts(keys, keys, shift)) > bins:
        shift += 1
    ends = torch.cat((starts[1:], starts.new_full((min(1, len(starts)),), len(keys))))
    table = keys.new_zeros(len(starts), 5)
    table[:, LOWEST], table[:, HIGHEST] = keys[starts], keys[ends - 1]
    table[:, NORMAL if weight is None else ANOMALOUS] = ends - starts
    if weight is not None:
        total = torch.cat((weight.new_zeros(1), weight.cumsum(0)))
        table[:, WEIGHT] = total[ends] - total[starts]
    return Histogram(table, shift)


def _merge_rows(table: Int64[Tensor, "n 5"], shift: int) -> Int64[Tensor, "k 5"]:
    """Add the rows, ascending, that fall into one bin."""
    starts = _bin_starts(table[:, LOWEST].contiguous(), table[:, HIGHEST], shift)
    if len(starts) == len(table):
        return table
    row = torch.zeros_like(table[:, LOWEST]).index_fill_(0, starts, 1).cumsum(0) - 1
    fused = torch.zeros_like(table[: len(starts)]).index_add_(0, row, table)
    fused[:, LOWEST] = table[starts, LOWEST]
    fused[:, HIGHEST] = fused[:, LOWEST].scatter_reduce(0, row, table[:, HIGHEST], "amax")
    return fused


def _bin_starts(
    lowest: Int64[Tensor, " n"], highest: Int64[Tensor, " n"], shift: int
) -> Int64[Tensor, " k"]:
    """Where each bin starts; ``lowest`` is ascending. The extreme keys share their bins with no other key."""
    if not len(lowest):
        return lowest
    starts = torch.ones_like(lowest, dtype=torch.bool)
    names = lowest >> shift
    torch.ne(names[1:], names[:-1], out=starts[1:])
    after_first = torch.searchsorted(lowest, lowest[0], right=True)
    starts[after_first:][:1] = True
    starts[torch.searchsorted(lowest, highest.max())] = True
    return starts.nonzero().flatten()
