"""Ranking of the scores in a histogram.

Legend: k bins, t thresholds.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch

from zsad.metrics.float_keys import scores_from_keys
from zsad.metrics.operating_points import OperatingPoints
from zsad.metrics.ranking import Ranking
from zsad.metrics.score_histogram import ANOMALOUS, HIGHEST, LOWEST, NORMAL, WEIGHT, Histogram
from zsad.metrics.shapes import CountsAbove, ScoreRange, Thresholds


@dataclass(frozen=True)
class BinnedRanking(Ranking):
    """The order of the scores in a histogram.

    Equal scores are tied here, too; items of one bin with different scores are taken to lie there
    in a random order.
    """

    histogram: Histogram

    @cached_property
    def counts(self) -> tuple[int, int]:
        """Number of normal and of anomalous items."""
        total = self.histogram.bins.sum(0).tolist()
        return total[NORMAL], total[ANOMALOUS]

    @cached_property
    def points(self) -> OperatingPoints:
        """The operating points, one at each bin that holds anomalous items."""
        descending = self.histogram.bins.flip(0)
        is_point = descending[:, ANOMALOUS] > 0
        total = descending.cumsum(0)[is_point]
        bins = descending[is_point]
        false_positives = total[:, NORMAL]
        weight = total[:, WEIGHT].double()
        return OperatingPoints(
            threshold=scores_from_keys(bins[:, LOWEST]),
            true_positives=total[:, ANOMALOUS].double(),
            overlap=weight / weight[-1],
            false_positives=false_positives.double(),
            false_positives_above=(false_positives - bins[:, NORMAL]).double(),
            normal=total.new_tensor(self.counts[0]).double(),
            mixed=bins[:, HIGHEST] > bins[:, LOWEST],
        )

    @property
    def score_range(self) -> ScoreRange:
        """The lowest and the highest score."""
        bins = self.histogram.bins
        lowest = bins[0, LOWEST]
        highest = bins[-1, HIGHEST]
        return scores_from_keys(torch.stack((lowest, highest)))

    def count_above(self, thresholds: Thresholds) -> CountsAbove:
        """Count the items that score more than each threshold.

        Returns the number of normal items, and the weighted fraction of the anomalous items. The
        items of a bin are taken to be spread evenly between its lowest and its highest score.
        """
        bins = self.histogram.bins
        low = scores_from_keys(bins[:, LOWEST]).double()
        high = scores_from_keys(bins[:, HIGHEST]).double()
        # The lowest bin that lies above each threshold, or is cut by it.
        first = torch.searchsorted(high, thresholds, right=True)
        cut = first.clamp(max=len(bins) - 1)
        width = (high - low)[cut]
        above_threshold = high[cut] - thresholds
        share = torch.where(width > 0, above_threshold / width, 1.0)
        share = torch.where(first < len(bins), share.clamp(0, 1), 0.0)
        total = bins.sum(0)
        above = total - bins.cumsum(0)
        found = above[cut] + share[:, None] * bins[cut]
        normal = found[:, NORMAL].double()
        anomalous = found[:, WEIGHT] / total[WEIGHT]
        return normal, anomalous
