"""gflowctl: the command line of gflow. Works on the snapshot alone; needs no daemon to queue, list or cancel."""
