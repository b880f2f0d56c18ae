"""Changes to jobs that exist: wishes, updates, the dependencies of redone jobs. Parses no command line."""
