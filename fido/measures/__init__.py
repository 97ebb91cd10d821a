"""What metrics measure on maps and edited images: pure functions that several metrics share."""
