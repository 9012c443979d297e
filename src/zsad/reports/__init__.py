"""Heat maps, tables and run cards: what a run leaves for people to read."""
