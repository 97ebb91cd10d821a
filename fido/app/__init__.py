"""Hydra meets fido: configurations become objects, commands and sweeps."""
