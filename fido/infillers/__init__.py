"""What stands in for a dropped pixel: one infiller a file, chosen by `conf/infiller/*.yaml`."""
