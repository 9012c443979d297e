"""Metrics: pure formulas over rankings of scores, and torchmetrics states that collect the scores."""
