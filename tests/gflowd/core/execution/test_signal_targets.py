from __future__ import annotations

import signal

import pytest

from gflowd.core.execution import signal_targets
from gflowd.core.execution.procstat import Process
from gflowd.core.execution.signal_targets import Member

LEADER = 10
USR1, INT, TERM = signal.SIGUSR1, signal.SIGINT, signal.SIGTERM


def member(pid: int, parent: int, **what: bool) -> Member:
    return Member(Process(pid, parent, LEADER, 1, zombie=False), **{"takes": False, **what})


def chosen(*members: Member, number: int = USR1, leader: int | None = LEADER, slurm: bool = False) -> list[int]:
    return sorted(process.pid for process in signal_targets.chosen(members, leader, number, slurm=slurm))


def test_who_takes_it_gets_it_and_bystanders_do_not() -> None:
    assert chosen(member(11, LEADER, shell=True), member(12, 11, takes=True), member(13, 11)) == [12]
    assert chosen(member(11, LEADER), member(12, 11, takes=True)) == [12], "nor its parent"
    assert chosen(member(11, LEADER, takes=True), member(12, 11, takes=True)) == [11, 12]


def test_a_shell_with_a_trap_takes_it() -> None:
    assert chosen(member(11, LEADER, shell=True, takes=True), member(12, 11)) == [11]


def test_where_nobody_takes_it_the_command_gets_it_and_not_its_shell() -> None:
    assert chosen(member(11, LEADER), member(12, 11)) == [11]
    assert chosen(member(11, LEADER, shell=True), member(12, 11), member(13, 12), member(14, 11)) == [12, 14]
    assert chosen(member(11, LEADER, shell=True), member(12, 11, shell=True), member(13, 12)) == [13], "a shell in it"
    assert chosen(member(11, LEADER, shell=True)) == [], "one without a child is busy with its script"


def test_a_job_whose_script_is_gone_has_the_topmost_for_its_command() -> None:
    assert chosen(member(11, 1), member(12, 11), leader=None) == [11]
    assert chosen(member(11, 1), member(12, 11)) == [11]


def test_a_shell_that_catches_whatever_would_end_it_is_asked_after_the_others() -> None:
    shell = member(11, LEADER, shell=True, takes=True, doubtful=True)
    assert chosen(shell, member(12, 11, takes=True)) == [12]
    assert chosen(shell, member(12, 11)) == [11]
    assert chosen(member(11, LEADER, takes=True, doubtful=True)) == [11], "only shells do so for a trap on EXIT"


def test_what_a_shell_catches_for_itself_is_no_handler() -> None:
    shell = member(11, LEADER, shell=True, takes=True)
    assert chosen(shell, member(12, 11, takes=True), member(13, 11), number=INT) == [12]
    assert chosen(shell, member(12, 11), member(13, 11), number=INT) == [11, 12, 13], "as a terminal sends it"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP, signal.SIGCONT])
def test_what_nobody_can_answer_goes_to_all(number: int) -> None:
    assert chosen(member(11, LEADER, shell=True), member(12, 11, takes=True), member(13, 11), number=number) == [
        11, 12, 13,
    ]  # fmt: skip


def test_the_script_of_a_job_for_slurm_is_spared_whatever_it_is_and_what_it_runs_is_not() -> None:
    """As by scancel(1), which signals the steps."""
    exit_trap = member(11, LEADER, shell=True, takes=True, doubtful=True)
    assert chosen(exit_trap, member(12, 11), slurm=True) == [12]
    assert chosen(exit_trap, slurm=True) == []
    assert chosen(member(11, LEADER), slurm=True) == [], "a script in Python"
    assert chosen(member(11, LEADER), member(12, 11, shell=True), member(13, 12), slurm=True) == [13]
    assert chosen(member(11, LEADER, shell=True, takes=True), member(12, 11), slurm=True) == [11], "its trap is for it"
    shell = member(11, LEADER, shell=True, takes=True)
    assert chosen(shell, member(12, 11), member(13, 11), number=INT, slurm=True) == [12, 13]
    assert chosen(shell, member(12, 11), number=signal.SIGKILL, slurm=True) == [11, 12]


def test_shells_are_known_by_their_names() -> None:
    for path in ("/usr/bin/dash", "/bin/bash (deleted)", "/opt/bin/static-sh", "zsh"):
        assert signal_targets.is_shell(path)
    for path in ("", "/usr/bin/python3.11", "/usr/bin/bashful", "/usr/bin/tee"):
        assert not signal_targets.is_shell(path)
