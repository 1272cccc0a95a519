"""What the loop fits: mixtures, posteriors, classes, message length."""
