"""Other queues of jobs, each run in a place of its own, and the work that is timed on all of them."""
