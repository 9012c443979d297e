"""Reports of runs for people: tables, run cards, heat maps, HTML pages."""
