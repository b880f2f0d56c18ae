"""What a job writes is in its log, or in the files it names, to the last byte and in order, whatever it does to it."""

from __future__ import annotations

import os
import sys
import time

import pytest
from support.machine import GATE, Machine, alive, end
from support.waiting import eventually

AGAIN = {
    "stderr": "echo one; echo two; echo warning >/dev/stderr; echo three",
    "stdout": "echo one; echo two; echo warning >/dev/stdout; echo three",
    "its descriptor": "echo one; echo two; echo warning >/proc/self/fd/1; echo three",
    "bash": "bash -c 'echo one; echo two; echo warning >/dev/stderr; echo three'",
    "a program": f"echo one; {sys.executable} -c \"import os; f = open('/dev/stdout', 'w'); "
    "f.write('two\\n'); f.close(); open('/dev/fd/2', 'w').write('warning\\n')\"; echo three",
    "a child that lives on": "echo one; (echo two; sleep 0.2; echo warning >/dev/stdout) & wait; echo three",
}
LINES = ["one", "two", "warning", "three"]
MANY = "seq 1 300000; echo end >&2; seq 1 1000"


@pytest.mark.parametrize("how", AGAIN)
def test_opening_it_again_empties_no_log(either: Machine, how: str) -> None:
    assert either.result("--wrap", AGAIN[how]).splitlines() == LINES


@pytest.mark.parametrize("how", AGAIN)
def test_nor_a_file_that_output_names(either: Machine, how: str) -> None:
    either.result("-o", "out.txt", "--wrap", AGAIN[how])
    assert either.lines("out.txt") == LINES


def test_nor_one_for_errors(either: Machine) -> None:
    assert either.result("-e", "err.txt", "--wrap", "echo a >&2; echo out; echo b >/dev/stderr; echo c >&2") == "out\n"
    assert either.lines("err.txt") == ["a", "b", "c"]
    either.result("-o", "out.txt", "-e", "err.txt", "--wrap", "echo a; echo b >/dev/stderr; echo c >/dev/stdout")
    assert (either.lines("out.txt"), either.lines("err.txt")) == (["a", "c"], ["b"])


@pytest.mark.parametrize("error", ["both.txt", "./both.txt", "link.txt"])
def test_one_file_for_both_is_in_order(either: Machine, error: str) -> None:
    os.symlink("both.txt", either.work / "link.txt")
    text = "for i in 1 2 3 4 5 6 7 8 9; do echo $i; echo $i >&2; done; echo x >/dev/stderr"
    either.result("-o", "both.txt", "-e", error, "--wrap", text)
    assert either.lines("both.txt") == [*(str(i) for i in range(1, 10) for _ in range(2)), "x"]


@pytest.mark.parametrize("options", [(), ("-o", "out.txt")])
def test_it_is_there_to_the_last_byte_once_the_job_has_ended(either: Machine, options: tuple[str, ...]) -> None:
    job_id = either.submit(*options, "--wrap", MANY)
    assert either.wait(job_id) == 0
    found = either.log(job_id).decode().split()
    assert found == [*map(str, range(1, 300001)), "end", *map(str, range(1, 1001))]


def test_who_is_no_part_of_the_job_and_holds_its_output_keeps_it_from_ending_only_for_a_while(either: Machine) -> None:
    stranger = "env -i setsid sh -c 'echo $$ >stranger; exec sleep 1000' 9>&- &"
    job_id = either.submit("-o", "out.txt", "--wrap", f"echo before; {stranger} until [ -s stranger ]; do :; done")
    assert either.wait(job_id) == 0
    (pid,) = map(int, either.lines("stranger"))
    lived = alive(pid)
    end(pid)
    assert lived
    assert either.lines("out.txt") == ["before"]


def test_what_a_daemon_leaves_behind_is_ended_though_it_hid_from_the_job(either: Machine) -> None:
    text = "setsid sh -c 'echo $$ >stranger; exec sleep 1000' 9>&- & until [ -s stranger ]; do :; done; exit 3"
    job_id = either.submit("-o", "out.txt", "--wrap", text)
    assert either.wait(job_id) == 3
    (pid,) = map(int, either.lines("stranger"))
    assert not alive(pid)


def test_output_outlives_the_daemon(own: Machine) -> None:
    text = f"echo one; {GATE}; echo two >/dev/stderr; seq 1 20000; exit 4"
    ids = [own.submit("--wrap", text), own.submit("-o", "out.txt", "--wrap", text)]
    own.until_in(ids, "running")
    end(*own.pids().values())
    own.open_gate()
    time.sleep(0.3)
    own.start()
    assert own.wait(*ids) == 4
    wanted = "".join(f"{line}\n" for line in ["one", "two", *range(1, 20001)]).encode()
    assert [own.log(job_id) for job_id in ids] == [wanted, wanted]


def test_a_cancelled_job_keeps_what_it_wrote(either: Machine) -> None:
    text = "trap 'echo bye; exit 1' INT; echo here; while :; do sleep 0.05; done"
    job_id = either.submit("-o", "out.txt", "--grace", "60s", "--wrap", text)
    eventually(lambda: either.lines("out.txt"))
    either.until(job_id, "running")
    either.cancel(job_id)
    assert either.lines("out.txt") == ["here", "bye"]


def test_nothing_copies_when_the_output_is_no_file(either: Machine) -> None:
    job_id = either.submit("-o", "/dev/null", "--wrap", "echo x >/dev/stdout; [ -c /proc/self/fd/1 ]")
    assert either.wait(job_id) == 0


def test_what_copies_is_no_process_of_the_job(either: Machine) -> None:
    """It ends by itself, after the last writer, and is never signalled."""
    job_id = either.submit("-o", "out.txt", "--grace", "0", "--wrap", f"echo here; trap '' INT TERM; {GATE}")
    eventually(lambda: either.lines("out.txt"))
    assert all(words.split()[:1] != ["cat"] for words in either.of_job(job_id).values())
    either.cancel(job_id)
    assert either.lines("out.txt") == ["here"]


def sorted_lines(machine: Machine, name: str) -> list[str]:
    return sorted(machine.lines(name))


@pytest.mark.parametrize("options", [("-o", "all.txt"), ("-o", "all.txt", "-e", "all.txt"), ("-e", "all.txt")])
def test_elements_that_share_a_file_do_not_empty_it_for_each_other(either: Machine, options: tuple[str, ...]) -> None:
    (either.work / "all.txt").write_text("of yesterday\n")
    text = "for i in 1 2 3; do echo $GFLOW_ARRAY_TASK_ID-$i >&2; sleep .1; done"
    job_id = int(either.ctl("submit", "--parsable", *options, "--array", "1-6", "--wrap", text).stdout.split("-")[0])
    assert either.wait(*range(job_id, job_id + 6)) == 0
    assert sorted_lines(either, "all.txt") == [f"{a}-{i}" for a in range(1, 7) for i in range(1, 4)]


def test_elements_one_after_the_other_do_not_either_nor_does_a_daemon_that_returns(own: Machine) -> None:
    (own.work / "all.txt").write_text("of yesterday\n")
    text = f"{GATE}; echo $GFLOW_ARRAY_TASK_ID"
    options = ("-o", "all.txt", "--array", "1-3%1", "--wrap", text)
    job_id = int(own.ctl("submit", "--parsable", *options).stdout.split("-")[0])
    own.until(job_id, "running")
    end(*own.pids().values())
    own.open_gate()
    own.start()
    assert own.wait(job_id, job_id + 1, job_id + 2) == 0
    assert own.lines("all.txt") == ["1", "2", "3"]


def test_attempts_append(either: Machine) -> None:
    (either.work / "out.txt").write_text("of yesterday\n")
    text = "echo attempt $GFLOW_ATTEMPT; [ $GFLOW_ATTEMPT = 3 ]"
    job_id = either.submit("-o", "out.txt", "--max-retries", "5", "--retry-delay", "0s", "--wrap", text)
    assert either.wait(job_id) == 0
    assert either.lines("out.txt") == ["attempt 1", "attempt 2", "attempt 3"]


def test_lines_of_one_submission_share_a_file(either: Machine) -> None:
    (either.work / "all.txt").write_text("of yesterday\n")
    jobs = "".join(f'{{"command": ["echo", "{i}"]}}\n' for i in range(4))
    either.ctl("submit", "-o", "all.txt", "--from", "-", input=jobs)
    eventually(lambda: sorted_lines(either, "all.txt") == ["0", "1", "2", "3"])


def test_the_next_submission_begins_anew_and_a_repetition_does_not(either: Machine) -> None:
    for word in ("one", "two"):
        job_id = either.submit("-o", "out.txt", "echo", word)
        either.wait(job_id)
    assert either.lines("out.txt") == ["two"]
    again = int(either.ctl("redo", "--parsable", str(job_id)).stdout)
    assert either.wait(again) == 0
    assert either.lines("out.txt") == ["two", "two"]


def test_a_dry_run_says_what_becomes_of_the_files(either: Machine) -> None:
    def said(*options: str) -> list[str]:
        lines = either.ctl("submit", "--dry-run", *options, "echo", "x").stdout.splitlines()
        return [line for line in lines if line.startswith("Output")]

    here = os.path.realpath(either.work)
    once = "emptied when the first of the 4 jobs starts; later starts append to it"
    assert said("-o", "all.txt", "--array", "1-4") == [f"Output goes to {here}/all.txt, {once}"]
    assert said("-o", "all.txt", "--append", "--array", "1-4") == [f"Output goes to {here}/all.txt, appended to"]
    assert said("-o", "o-%a.txt", "--array", "1-4") == [
        f"Output goes to {here}/o-%a.txt, a file for each job, emptied when its job first starts"
    ]
    assert said("-o", "one.txt", "-e", "two.txt") == [
        f"Output goes to {here}/{name}.txt, emptied when the job first starts; later starts append to it"
        for name in ("one", "two")
    ]
    new = "emptied when the job first starts; later starts append to it; missing directories are created then"
    assert said("-o", "new/%a/o") == [f"Output goes to {here}/new/0/o, {new}"]
    assert said() == []
