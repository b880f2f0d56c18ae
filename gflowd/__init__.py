"""gflow: a batch system for one shared GPU machine. This package is the daemon and the core that gflowctl shares."""

__version__ = "0.1.0"
