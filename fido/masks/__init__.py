"""Masks and what is asked of them."""
