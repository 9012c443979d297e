"""Shapes of the tensors in this package.

Legend: b maps of h × w pixels, n items or normal items, p anomalous items, k operating points or
bins, t thresholds; ``*b``: any number of curves over the same thresholds, or none.
"""

from __future__ import annotations

from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

Maps = Float[Tensor, "b h w"]
Masks = Bool[Tensor, "b h w"]
Mask = Bool[Tensor, "h w"]

Scores = Float[Tensor, " n"]
AnomalousScores = Float[Tensor, " p"]
Weights = Float64[Tensor, " p"]
ScoreRange = Float[Tensor, "2"]

Thresholds = Float64[Tensor, " t"]
CountsAbove = tuple[Float64[Tensor, " t"], Float64[Tensor, " t"]]

Points = Float64[Tensor, "*b k"]
Curves = Float64[Tensor, "*b"]
Scalar = Float64[Tensor, ""]

Keys = Int64[Tensor, " n"]
Table = Int64[Tensor, "k 5"]
