"""Where what happens in a run is told: terminal, Weights & Biases."""
