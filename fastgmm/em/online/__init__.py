"""Learning from minibatches and streams."""
