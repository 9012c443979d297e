"""CLIP: its two towers, their weights, its tokens."""
