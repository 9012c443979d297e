"""Hydra and OmegaConf: from a configuration to the objects of a run."""
