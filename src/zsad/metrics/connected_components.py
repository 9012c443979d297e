"""Defect regions: the connected components of a ground-truth mask.

Legend: h × w pixels, p defective pixels.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Int32
from torch import Tensor

from zsad.metrics.shapes import Mask, Weights

_EIGHT_NEIGHBOURS = np.ones((3, 3), dtype=bool)  # SciPy's own default would be four


def label_regions(mask: Mask) -> Int32[Tensor, "h w"]:
    """Label the 8-connected regions of a mask 1, 2, 3 …; pixels outside every region are 0.

    >>> label_regions(torch.tensor([[True, False, False], [False, True, False]])).tolist()
    [[1, 0, 0], [0, 1, 0]]
    """
    from scipy import ndimage

    labels = np.empty(mask.shape, dtype=np.int32)
    ndimage.label(mask.cpu().numpy(), structure=_EIGHT_NEIGHBOURS, output=labels)
    return torch.from_numpy(labels)


def region_weights(mask: Mask) -> Weights:
    """Weigh each defective pixel by one over the area of its region, so that each region weighs 1.

    The weights come in the order of ``mask.nonzero()``, on the CPU.

    >>> region_weights(torch.tensor([[True, True, False, True]])).tolist()
    [0.5, 0.5, 1.0]
    """
    labels = label_regions(mask)[mask.cpu()]
    areas = labels.bincount().double()
    return areas.reciprocal()[labels]
