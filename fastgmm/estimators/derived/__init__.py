"""What is made from fitted mixtures: their modes, and mixtures adapted to other rows."""
