"""The commands of scontrol: what it changes, and what it shows."""
