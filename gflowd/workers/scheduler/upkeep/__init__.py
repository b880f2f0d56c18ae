"""What the scheduler keeps of jobs, and for how long: snapshot, journal, history; and what it removes."""
