"""Sources of rows: arrays, frames, files, streams."""
