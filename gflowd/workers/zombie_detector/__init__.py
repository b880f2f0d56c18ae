"""The process that sees which attempts have ended, though nobody said so."""
