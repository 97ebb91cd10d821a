"""Denoisers, which estimate the noise in an image."""
