"""For whoever runs the machine: checks, backup, restore, left-over sessions. Changes no job."""
