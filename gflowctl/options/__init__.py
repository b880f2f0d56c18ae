"""What a command line can say: parsers, the options of a job, signals. Runs no command."""
