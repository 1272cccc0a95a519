"""The parts of the classifier."""
