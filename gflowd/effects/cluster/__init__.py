"""A cluster's own programs and the directory that its nodes see. Knows nothing of what a job's fate means."""
