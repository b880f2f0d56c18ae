"""The worker that tells people and programs what happened. Reads the journal of events, and nothing else of jobs."""
