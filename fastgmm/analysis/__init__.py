"""What is computed from fitted mixtures."""
