"""Regions that a counterfactual may change, one a file."""
