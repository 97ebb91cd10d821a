"""Infillers fill dropped pixels: one per file, chosen by `conf/infiller/*.yaml`."""
