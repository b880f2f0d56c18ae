"""The verbs of `gflowd`: one module each, with `configure(parser)` and `run(args)`, which returns the exit status."""
