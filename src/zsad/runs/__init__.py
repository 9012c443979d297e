"""What a run does around training and testing."""
