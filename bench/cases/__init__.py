"""One file a benchmark; each has `measure(pace) -> Outcome`."""
