"""Metrics: pure formulas over rankings of scores, and torchmetrics states of these scores."""
