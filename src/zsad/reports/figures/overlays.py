"""Figures of anomaly maps: image, ground truth, detections and heat map side by side."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from zsad.reports.figures.detection_overlay import count_detections, draw_detections
from zsad.reports.figures.layout import TEXT_PX, blank, draw_panels, text_width_px, write_text
from zsad.reports.figures.mask_outlines import outline_anomalies, outline_mask
from zsad.reports.figures.rgb_arrays import RGBArray, Size, resize_smoothly, size_of, to_rgb_array
from zsad.types import Detections

ValueRange = tuple[float, float]
Levels = NDArray[np.floating]  # (h, w), in [0, 1]

LOWEST_OPACITY = 0.25  # normal regions stay visible
HIGHEST_OPACITY = 0.7
_OPACITY_RANGE = HIGHEST_OPACITY - LOWEST_OPACITY
_BAR_PX = 12
_BAR_TEXT_LEFT_PX = 16
_MID_GREY = 128


def draw_heatmap(
    image: RGBArray, anomaly_map: Tensor, value_range: ValueRange | None = (0.0, 1.0)
) -> RGBArray:
    """Lay a coloured anomaly map (H, W) over an image.

    A fixed range gives the same colour to the same value in every image, so that normal images do
    not glow. With ``None`` each map is stretched by its own minimum and maximum.
    """
    scores = anomaly_map.detach().float().cpu()
    values = resize_smoothly(scores.numpy(), size_of(image))
    low, high = value_range or _extremes(values)
    width = max(high - low, 1e-12)
    stretched = (values - low) / width
    level = np.clip(stretched, 0, 1)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    grey = grey[..., None].astype(np.uint8)
    return _blend(level, np.repeat(grey, 3, axis=2))


def draw_overlay(
    image: Tensor,
    anomaly_map: Tensor,
    mask: Tensor | None = None,
    *,
    size: Size | None = None,
    value_range: ValueRange | None = (0.0, 1.0),
    caption: str = "",
    threshold: float | None = None,
    detections: Detections | None = None,
) -> RGBArray:
    """Draw image, ground truth, detections and anomaly map side by side, with a colour bar.

    Args:
        image: (3, H, W) in [0, 1].
        anomaly_map: (H', W'), higher is more anomalous.
        mask: (H, W) bool; without it there is no panel of the ground truth.
        size: Of one panel; by default that of the map.
        value_range: The values at the two ends of the colours, ``None`` for the map's own.
        caption: A line below.
        threshold: Regions of the map from this value on get a contour.
        detections: Detections in pixels of the map; without them there is no panel of them.
    """
    map_height, map_width = anomaly_map.shape
    plain = to_rgb_array(image, size or (map_width, map_height))
    heatmap = draw_heatmap(plain, anomaly_map, value_range)
    title = "anomaly map"
    if threshold is not None:
        heatmap = outline_anomalies(heatmap, anomaly_map, threshold)
        title = f"anomaly map, contours at {threshold:.3g}"
    panels = [("image", plain)]
    if mask is not None:
        heatmap = outline_mask(heatmap, mask)
        outlined = outline_mask(plain, mask)
        panels.append(("ground truth", outlined))
    if detections is not None:
        drawn = draw_detections(plain, detections, (map_height, map_width))
        detections_title = count_detections(len(detections))
        panels.append((detections_title, drawn))
    panels.append((title, heatmap))
    height = plain.shape[0]
    bar = _colour_bar(height, value_range or _extremes(anomaly_map))
    panels.append(("", bar))
    return draw_panels(panels, caption)


def _extremes(values: Tensor | Levels) -> ValueRange:
    lowest = float(values.min())
    highest = float(values.max())
    return lowest, highest


def _blend(level: Levels, grey: RGBArray) -> RGBArray:
    """Lay the colours of levels over a grey image; higher levels are more opaque."""
    indices = np.round(level * 255)
    colours = cv2.applyColorMap(indices.astype(np.uint8), cv2.COLORMAP_TURBO)
    rgb_colours = colours[..., ::-1]
    opacity = LOWEST_OPACITY + _OPACITY_RANGE * level
    opacity = opacity[..., None]
    blended = opacity * rgb_colours + (1 - opacity) * grey
    return np.round(blended).astype(np.uint8)


def _colour_bar(height: int, value_range: ValueRange) -> RGBArray:
    """Draw the colours from the highest value down to the lowest, as the maps over mid grey."""
    lowest, highest = value_range
    low = f"{lowest:.2g}"
    high = f"{highest:.2g}"
    text_width = max(text_width_px(low), text_width_px(high))
    column = np.linspace(1, 0, height)[:, None]
    levels = np.repeat(column, _BAR_PX, axis=1)
    shape = (height, _BAR_PX, 3)
    grey = np.full(shape, _MID_GREY, np.uint8)
    canvas = blank(height, _BAR_TEXT_LEFT_PX + text_width + 2)
    canvas[:, :_BAR_PX] = _blend(levels, grey)
    canvas = write_text(canvas, (_BAR_TEXT_LEFT_PX, 0), high)
    bottom_line = height - TEXT_PX - 4
    return write_text(canvas, (_BAR_TEXT_LEFT_PX, bottom_line), low)
