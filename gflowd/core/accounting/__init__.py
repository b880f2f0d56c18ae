"""Usage and its limits: fair share, quotas, run times, statistics. Schedules nothing."""
