"""Frozen networks behind few verbs. Upstream packages are imported lazily."""
