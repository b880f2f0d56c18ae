"""What a job is: spec, wish, phase and the state of these; arrays, dependencies, retries, reasons, records."""
