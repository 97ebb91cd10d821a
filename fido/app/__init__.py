"""Hydra meets fido: configurations become objects, commands and sweeps."""

import fido.app.folders  # noqa: F401  # names of folders, which every configuration uses
