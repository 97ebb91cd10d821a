"""Where images, labels and boxes come from: one source a file, chosen by `conf/data/*.yaml`."""
