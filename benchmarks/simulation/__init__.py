"""Replays workloads in virtual time under several policies and measures what the users would see."""
