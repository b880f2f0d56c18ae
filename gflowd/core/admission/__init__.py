"""What may be put into the snapshot, for whom: requests judged by what is in it. Reads no file and no clock."""
