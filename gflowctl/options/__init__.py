"""The command line: parsers, the options of a job, signals. Runs no command."""
