"""Formulas of the metrics, and what is kept to compute them."""
