"""Scores of explanations, of infillers and of the agreement of maps: one file a metric."""
