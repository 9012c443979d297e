"""Report pages from Jinja2 templates: one HTML file that needs no other."""
