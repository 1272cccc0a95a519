"""What the comparisons share: competitors, how they are measured, and targets."""
