"""Who is at the other end of a connection, and the files that users send with their requests."""
