"""Pictures of maps, masks and curves."""
