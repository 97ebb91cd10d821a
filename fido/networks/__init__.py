"""Architectures only: no weights, no training, no preprocessing."""
