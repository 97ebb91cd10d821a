"""Distributions of masks: what infillers are trained on and measured under."""
