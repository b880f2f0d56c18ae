"""Events: what happened to jobs, GPUs, reservations and the daemon; derived from what is now and what was told."""
