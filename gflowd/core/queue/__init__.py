"""The scheduler's index of jobs: order, pending dependencies, array limits. Pure."""
