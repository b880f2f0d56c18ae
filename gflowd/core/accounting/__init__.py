"""Who used how much and may use how much: fair share, quotas, run times, statistics. Schedules nothing."""
