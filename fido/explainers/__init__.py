"""Explanation methods: one per file, chosen by `conf/explainer/*.yaml`."""
