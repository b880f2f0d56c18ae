"""What the daemon of many users does as root for one of them."""
