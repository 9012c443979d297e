"""Figures: heat maps, contact sheets and curves as RGB arrays and PNG files."""
