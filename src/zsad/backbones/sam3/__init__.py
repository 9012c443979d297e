"""SAM 3: concepts outlined in one network."""
