"""Changes to existing jobs: wishes, updates, the dependencies of redone jobs. Parses no command line."""
