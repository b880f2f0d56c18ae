"""Metrics as text, and the socket that answers who asks for them."""
