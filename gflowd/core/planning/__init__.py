"""What starts when and where: backfill, occupancy, forecast, promises, reservations. Starts nothing."""
