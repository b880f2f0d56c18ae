import os
import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflowd.core.execution import procstat
from gflowd.core.job.model import Identity

LINE = "42 (sh) S 7 42 40 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 1 2 3\n"


def test_a_line_of_proc_is_read() -> None:
    found = procstat.parse(LINE)
    assert found == procstat.Process(pid=42, parent=7, session=40, start=98765, zombie=False)
    assert found is not None
    assert found.identity("boot") == Identity("boot", 42, 98765)


@pytest.mark.parametrize("name", ["a b", ")", "(", ") S 1 1 1", "a\nb", "((x) ) R 2", ""])
def test_a_name_cannot_mislead(name: str) -> None:
    assert procstat.parse(LINE.replace("(sh)", f"({name})")) == procstat.parse(LINE)


@pytest.mark.parametrize(("state", "zombie"), [("Z", True), ("X", True), ("R", False), ("D", False), ("T", False)])
def test_a_corpse_is_told_from_the_living(state: str, zombie: bool) -> None:
    found = procstat.parse(LINE.replace(" S ", f" {state} "))
    assert found is not None
    assert found.zombie is zombie


@pytest.mark.parametrize(
    "line",
    [
        "", "42", "42 (sh)", "42 (sh) S 7 42 40", "x (sh) S 7 42 40 0 -1 0 1 2 3 4 5 6 7 8 20 0 1 0 9 1",
        LINE.replace("98765", "soon"), LINE.replace("98765", str(1 << 64)), LINE.replace("42 (", f"{1 << 40} ("),
        LINE.replace("42 (", "0 ("), LINE.replace("42 (", "-42 ("), LINE.replace("98765", "-1"),
    ],
)  # fmt: skip
def test_what_is_no_process_is_none(line: str) -> None:
    assert procstat.parse(line) is None


@given(st.text())
def test_no_text_raises(text: str) -> None:
    procstat.parse(text)
    procstat.parse(LINE.replace("98765", text))


def test_the_kernel_agrees() -> None:
    with open("/proc/self/stat", encoding="ascii") as file:
        found = procstat.parse(file.read())
    assert found is not None
    assert (found.pid, found.parent, found.session) == (os.getpid(), os.getppid(), os.getsid(0))
    assert found.rss > 1000, "a Python has some MB"


def test_the_same_process_with_more_memory_is_the_same() -> None:
    found, later = procstat.parse(LINE), procstat.parse(LINE.replace("98765 1 2", "98765 1 3"))
    assert found == later
    assert found is not None
    assert later is not None
    assert (found.rss, later.rss) == (2, 3)


STATUS = "Name:\tx\nState:\t{}\nSigBlk:\t{:016x}\nSigIgn:\t{:016x}\nSigCgt:\t{:016x}\nCpus:\tf\n"
ALL = (1 << 64) - 1
FAULT = 1 << (signal.SIGSEGV - 1)


@given(st.integers(1, 64), st.integers(0, ALL), st.integers(0, 2))
def test_a_signal_is_taken_when_it_is_blocked_or_caught(number: int, mask: int, place: int) -> None:
    masks = [0, 0, 0]
    masks[place] = mask
    taken = bool(mask >> (number - 1) & 1) and place != 1
    assert procstat.takes(STATUS.format("S (sleeping)", *masks), number) is taken


def test_what_is_ignored_is_not_taken_though_it_is_blocked() -> None:
    assert not procstat.takes(STATUS.format("S (sleeping)", ALL, ALL, 0), signal.SIGUSR1)


@pytest.mark.parametrize("state", ["R (running)", "D (disk sleep)", "T (stopped)"])
def test_who_blocks_all_signals_for_the_moment_of_a_vfork_may_die_of_one_after_it(state: str) -> None:
    assert not procstat.takes(STATUS.format(state, ALL, 0, 0), signal.SIGUSR1)
    assert procstat.takes(STATUS.format(state, ALL & ~FAULT, 0, 0), signal.SIGUSR1)
    assert procstat.takes(STATUS.format(state, ALL, 0, ALL), signal.SIGUSR1)
    assert procstat.takes(STATUS.format("S (sleeping)", ALL, 0, 0), signal.SIGUSR1)


def test_a_process_has_its_name() -> None:
    assert procstat.name("Name:\tsrun\nSigCgt:\t0\n") == "srun"
    assert procstat.name("") == ""


def test_no_status_takes_nothing() -> None:
    assert not procstat.takes("", signal.SIGUSR1)
    assert not procstat.catches_faults("")


def test_who_catches_its_own_faults_is_known() -> None:
    assert procstat.catches_faults(STATUS.format("S (sleeping)", 0, 0, FAULT))
    assert not procstat.catches_faults(STATUS.format("S (sleeping)", ALL, ALL, ALL & ~FAULT))


@pytest.mark.parametrize("where", ["SigPnd", "ShdPnd"])
def test_a_stop_on_its_way_and_a_wait_in_the_kernel_are_seen(where: str) -> None:
    status = f"State:\tD (disk sleep)\n{where}:\t{1 << (signal.SIGSTOP - 1):016x}\n"
    assert procstat.is_to_stop(status)
    assert procstat.is_uninterruptible(status)
    assert not procstat.is_to_stop(f"State:\tS (sleeping)\n{where}:\t{1 << (signal.SIGTERM - 1):016x}\n")
    assert not procstat.is_uninterruptible("State:\tT (stopped)\n")
    assert not procstat.is_to_stop("")


ROLLUP = "7f-8f ---p 00000000 00:00 0 [rollup]\nRss: 900 kB\nPss: 700 kB\n"


def test_cpu_time_includes_that_of_children_that_were_waited_for() -> None:
    found = procstat.parse(LINE)
    assert found is not None
    assert found.cpu == 5 + 6 + 7 + 8


def test_what_is_resident_and_backed_by_no_file_is_counted() -> None:
    status = "Name:\tx\nVmRSS:\t900 kB\nRssAnon:\t 300 kB\nRssFile:\t 550 kB\nRssShmem:\t  50 kB\n"
    assert procstat.own_resident(status) == 350 << 10
    assert procstat.own_resident("Name:\tx\nRssAnon:\t\n") == 0


def test_what_is_a_processs_own_is_not_what_is_mapped_from_files() -> None:
    assert procstat.unshared(f"{ROLLUP}Pss_Anon: 300 kB\nPss_File: 350 kB\nPss_Shmem: 50 kB\n") == 350 << 10
    assert procstat.unshared(f"{ROLLUP}Pss_Anon: 300 kB\n") == 300 << 10
    assert procstat.unshared(ROLLUP) == 700 << 10, "an old kernel"
    assert procstat.unshared("") is None


def test_who_was_started_without_an_environment_has_none_and_who_is_amid_execve_may_have_one() -> None:
    rest = ["S", "1", "2", "3", "0", "-1", "4194304", *["0"] * 45]

    def line(start: str, end: str, flags: str = "4194304") -> str:
        return f"7 (a) b) {' '.join([*rest[:6], flags, *rest[7:47], start, end, *rest[49:]])}"

    assert procstat.has_no_environment(line("140", "140"))
    assert not procstat.has_no_environment(line("140", "190"))
    assert not procstat.has_no_environment(line("0", "0"))
    assert procstat.has_no_environment(line("0", "0", "69238880")), "the kernel's"
    assert not procstat.has_no_environment("")
