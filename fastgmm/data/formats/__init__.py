"""File formats: one module a format."""
