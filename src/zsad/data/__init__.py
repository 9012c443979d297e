"""From raw downloads to batches."""
