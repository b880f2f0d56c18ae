"""What users and the gateway of a daemon for many users say to each other. Pure: bytes in, values out."""
