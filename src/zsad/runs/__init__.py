"""Steps of a run around training and testing: checks, resuming, provenance, results, reports."""
