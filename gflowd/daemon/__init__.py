"""One running daemon: its supervisor and children, how it starts, detaches and stops. Knows no jobs."""
