"""From options to queued jobs: drafts, scripts, environments. Changes no job that exists."""
