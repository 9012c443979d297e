"""Outlines of masks and of thresholded anomaly maps, drawn onto images."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from zsad.reports.figures.rgb_arrays import Colour, RGBArray, Size, size_of

MASK_COLOUR: Colour = (255, 255, 255)
CONTOUR_COLOUR: Colour = (255, 0, 255)  # a colour that the maps do not have
_RIM_COLOUR: Colour = (0, 0, 0)
_LINES_PER_SIDE = 300  # a line is this part of the longer side
_ALL = -1  # OpenCV's index for all contours


Mask = NDArray[np.uint8]  # (h, w), 0 or 1


def outline_mask(image: RGBArray, mask: Tensor) -> RGBArray:
    """Draw the outline of a ground-truth mask (H, W) onto a copy of an image, with a dark rim.

    The line runs around the defect, not over its border, so that small defects stay visible.
    """
    line = _line_px(image)
    filled = resize_mask(_to_array(mask), size_of(image))
    side = 2 * line + 7
    kernel = np.ones((side, side), np.uint8)
    dilated = cv2.dilate(filled, kernel)
    around = dilated.astype(np.uint8)
    return draw_contours(image, around, MASK_COLOUR, line)


def outline_anomalies(image: RGBArray, anomaly_map: Tensor, threshold: float) -> RGBArray:
    """Draw contours around the regions of a map (H, W) that reach a threshold, onto a copy."""
    line = _line_px(image)
    scores = anomaly_map.detach().float()
    is_anomalous = _to_array(scores >= threshold)
    mask = resize_mask(is_anomalous, size_of(image))
    return draw_contours(image, mask, CONTOUR_COLOUR, line)


def draw_contours(image: RGBArray, mask: Mask, colour: Colour, line: int) -> RGBArray:
    """Draw the contours of a mask of the image's size onto a copy, with a dark rim."""
    contours, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    drawn = image.copy()
    rim = line + 2
    cv2.drawContours(drawn, contours, _ALL, _RIM_COLOUR, rim, cv2.LINE_AA)
    cv2.drawContours(drawn, contours, _ALL, colour, line, cv2.LINE_AA)
    return drawn


def resize_mask(mask: Mask, size: Size) -> Mask:
    """Resize a mask so that every defect leaves at least one pixel."""
    width = mask.shape[1]
    if size[0] < width:
        floats = mask.astype(np.float32)
        shares = cv2.resize(floats, size, interpolation=cv2.INTER_AREA)
        is_covered = shares > 0
        return is_covered.astype(np.uint8)
    resized = cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST)
    return resized.astype(np.uint8)


def _to_array(mask: Tensor) -> Mask:
    array = mask.cpu().numpy()
    return array.astype(np.uint8)


def _line_px(image: RGBArray) -> int:
    longest = max(size_of(image))
    return max(1, round(longest / _LINES_PER_SIDE))
