"""One module per verb: `configure(parser)` names its options, `run(args, context)` returns the exit status."""
