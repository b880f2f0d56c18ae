"""For administrators: checks, backup, restore, leftover sessions. Changes no job."""
