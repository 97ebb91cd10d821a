"""fido: explain image classifiers by counterfactual infilling, and measure the explanations."""

__version__ = "0.1.0"

__version__ = "0.1.0"
