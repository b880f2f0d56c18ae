"""Runs tests while every program is held up: between fork and exec, before a wait, in the middle of what two processes
say to each other. What relies on another process being quick fails here in one run; on a calm machine it fails once in
many. `hold_up.py` is the command, `hold_up.c` the library that it puts into all programs, `held_up_tests.py` what
pytest has to know.
"""
