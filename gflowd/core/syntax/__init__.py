"""Text that users write: durations, instants, sizes, ranges, job ids, file patterns, JSON. Knows no jobs."""
