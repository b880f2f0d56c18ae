"""What monitoring systems are told: every metric with its name, and its values from what is known. Sends nothing."""
