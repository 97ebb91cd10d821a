"""Explaining the images of a source and storing the results."""
