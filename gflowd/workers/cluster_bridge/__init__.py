"""The worker that hands jobs over to clusters and follows them there."""
