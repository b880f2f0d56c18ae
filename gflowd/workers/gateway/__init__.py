"""Takes the requests of the users of a shared machine: judges them, and writes what is right. Runs no job."""
