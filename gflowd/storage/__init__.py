"""Persistent data: the record log, the store and its lock, the history. Does not know what a record means."""
