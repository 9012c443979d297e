"""Learnable prompts, prompt ensembles, captions, phrases and vocabularies."""
