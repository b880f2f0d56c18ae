"""From options to queued jobs: drafts, scripts, environments. Changes no existing job."""
