"""Networks to explain: one origin of weights a file, chosen by `conf/classifier/*.yaml`."""
