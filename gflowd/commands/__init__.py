"""The verbs of `gflowd`: one module each, with `configure(parser)` and `run(args)`, which answers the exit status."""
