"""The fixtures of control groups, for all tests here."""

from support.groups import bpf_place, group

__all__ = ["bpf_place", "group"]
