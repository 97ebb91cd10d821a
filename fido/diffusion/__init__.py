"""Diffusion models: noise schedule, denoisers and what is built of them."""
