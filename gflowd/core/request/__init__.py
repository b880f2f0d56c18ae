"""What a submission or an update may ask for. Validates; changes no job."""
