"""Sources of rows, and files that hold rows, images and results."""
