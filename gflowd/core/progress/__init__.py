"""How far a job is: what it reports, the progress bars that programs print, and when it can be expected to end."""
