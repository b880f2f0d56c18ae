"""The page that `gflowctl web` serves: the queue and the machine in a browser, a client of the snapshot."""
