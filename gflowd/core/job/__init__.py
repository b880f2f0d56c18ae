"""What a job is: spec, wish and phase, arrays, dependencies, retries, reasons, records. Decides nothing."""
