"""The screen of `gflowctl monitor`: jobs and GPUs together, live; changes jobs only through `gflowctl.api`."""
