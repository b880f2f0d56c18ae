"""The scheduler's process and its parts. No other process writes phases."""
