"""What each page shows, as values for its templates; knows nothing of HTTP."""
