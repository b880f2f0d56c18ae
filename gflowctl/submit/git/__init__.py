"""Which commit the files of a directory are of, and whether they were changed: reads `.git` itself, runs no git."""
