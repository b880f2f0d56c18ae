"""The journal of events: a file of JSON lines that the scheduler alone writes, and anyone may follow."""
