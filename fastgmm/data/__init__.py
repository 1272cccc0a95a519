"""Sources of rows, and files that hold rows, pictures and results."""
