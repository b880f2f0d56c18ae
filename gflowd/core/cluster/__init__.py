"""Jobs that a cluster's own batch system runs: what is asked of it, and what its answers mean."""
