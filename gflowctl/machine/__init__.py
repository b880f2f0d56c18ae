"""GPUs, quotas, reservations and draining, as gflowctl shows and sets them. Submits nothing."""
