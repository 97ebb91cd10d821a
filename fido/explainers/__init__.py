"""One explanation method a file, chosen by `conf/explainer/*.yaml`."""
