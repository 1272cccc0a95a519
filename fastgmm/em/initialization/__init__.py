"""Where components start."""
