"""How the scheduler starts attempts: what each needs first, and the ways to start one. Decides nothing."""
