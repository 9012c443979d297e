"""Thin LightningModules: when a method is trained, tested and logged."""
