"""Text that people write: durations, instants, sizes, ranges, job ids, file patterns, JSON. Knows no jobs."""
