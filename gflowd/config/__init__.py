"""The configuration file and the environment, read and checked. Applies no setting."""
