"""Outlines of masks and of thresholded anomaly maps, drawn onto images."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from zsad.reports.figures.rgb_arrays import Colour, RGBArray, Size

MASK_COLOUR: Colour = (255, 255, 255)
CONTOUR_COLOUR: Colour = (255, 0, 255)  # a colour that the maps do not have
_LINES_PER_SIDE = 300  # a line is this part of the longer side


def outline_mask(image: RGBArray, mask: Tensor) -> RGBArray:
    """Draw the outline of a ground-truth mask (H, W) onto a copy of an image, with a dark rim.

    The line runs around the defect, not over its border, so that small defects stay visible.
    """
    line = _line_px(image)
    filled = resize_mask(mask.cpu().numpy().astype(np.uint8), _size(image))
    kernel = np.ones((2 * line + 7, 2 * line + 7), np.uint8)
    around = cv2.dilate(filled, kernel).astype(np.uint8)
    return draw_contours(image, around, MASK_COLOUR, line)


def outline_anomalies(image: RGBArray, anomaly_map: Tensor, threshold: float) -> RGBArray:
    """Draw contours around the regions of a map (H, W) that reach a threshold, onto a copy."""
    is_anomalous = (anomaly_map.detach().float().cpu() >= threshold).byte().numpy()
    mask = resize_mask(is_anomalous, _size(image))
    return draw_contours(image, mask, CONTOUR_COLOUR, _line_px(image))


def draw_contours(image: RGBArray, mask: NDArray[np.uint8], colour: Colour, line: int) -> RGBArray:
    """Draw the contours of a mask of the image's size onto a copy, with a dark rim."""
    contours, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    drawn = image.copy()
    cv2.drawContours(drawn, contours, -1, (0, 0, 0), line + 2, cv2.LINE_AA)
    cv2.drawContours(drawn, contours, -1, colour, line, cv2.LINE_AA)
    return drawn


def resize_mask(mask: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """Resize a mask so that every defect leaves at least one pixel."""
    if size[0] < mask.shape[1]:
        share = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
        return (share > 0).astype(np.uint8)
    return cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST).astype(np.uint8)


def _line_px(image: RGBArray) -> int:
    return max(1, round(max(image.shape[:2]) / _LINES_PER_SIDE))


def _size(image: RGBArray) -> Size:
    return image.shape[1], image.shape[0]
