"""What job.sh does, by running it: each test under every POSIX shell that is here."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support import depth
from support.waiting import eventually

from gflowd.core.execution import job_script, usage
from gflowd.effects.attempt import jobdir, relay_directory

SHELLS = [[found, *words] for name, *words in (["dash"], ["bash", "--posix"]) if (found := shutil.which(name))]
SHELL_IDS = [os.path.basename(words[0]) for words in SHELLS]
# What tmux and its server put around job.sh, none of which is to reach the command.
AROUND = {
    "PATH": "/usr/bin:/bin", "TERM": "screen", "TMUX": "/run/tmux,1,2", "TMUX_PANE": "%1", "SHELL": "/bin/sh",
    "LC_CTYPE": "C.UTF-8", "TERM_PROGRAM": "tmux", "TERM_PROGRAM_VERSION": "3",
}  # fmt: skip
SHELLS_DOING = {b"_", b"SHLVL", b"OLDPWD"}  # what bash sets whatever one does
LIMIT = 60.0  # seconds: patience with a busy machine, no promise
SUPPRESSED = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]  # the profile's is replaced

SHOW_ENVIRONMENT = (b"/usr/bin/env", b"-0")
SHOW_WORDS = (b"/bin/sh", b"-c", b'/bin/cat "/proc/$$/cmdline"; :')


class Attempt:
    """A job directory, and job.sh run in it."""

    def __init__(self, root: Path, shell_words: list[str]) -> None:
        self.root = root
        self.words = shell_words
        self.directory = root / "a job's $directory"
        self.cwd = root / "work"
        self.bell = root / "bell"
        self.environment = root / "environment.sh"
        for place in (self.directory, self.cwd):
            place.mkdir(mode=0o700)
        os.mkfifo(self.directory / "alive", 0o600)
        self.export({})

    def export(self, environment: dict[bytes, bytes]) -> None:
        data = b"".join(b"%b=%b\0" % entry for entry in environment.items())
        self.environment.write_bytes(job_script.environment_script(data))

    def write(self, *command: bytes, **fields: object) -> Path:
        launch = {
            "title": "gflow job 1 (x), attempt 1",
            "directory": os.fsencode(self.directory),
            "bell": os.fsencode(self.bell),
            "environment": os.fsencode(self.environment),
            "variables": (("GFLOW_JOB_ID", b"1"), ("PWD", os.fsencode(self.cwd))),
            "cwd": os.fsencode(self.cwd),
            "umask": 0o022,
            "command": command,
            **fields,
        }
        path = self.directory / "job.sh"
        path.write_bytes(job_script.job_script(job_script.Launch(**launch)))  # type: ignore[arg-type]
        return path

    def spawn(self, *command: bytes, **fields: object) -> subprocess.Popen[bytes]:
        return self.spawn_again(self.write(*command, **fields))

    def spawn_again(self, path: Path) -> subprocess.Popen[bytes]:
        with (self.directory / "log").open("ab") as log:
            return subprocess.Popen(
                [*self.words, str(path)],
                env={**AROUND, "GFLOW_TEST_MARK": os.environ["GFLOW_TEST_MARK"]},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def run(self, *command: bytes, **fields: object) -> bytes:
        """The command's output, once job.sh has ended."""
        process = self.spawn(*command, **fields)
        try:
            process.wait(LIMIT)
        finally:
            process.kill()
            process.wait()
        return self.log()

    def log(self) -> bytes:
        return self.read("log")

    def read(self, name: str) -> bytes:
        return (self.directory / name).read_bytes()

    def exit(self) -> bytes:
        return self.read("exit")

    def held(self) -> bool:
        return jobdir.is_held(str(self.directory))


UNTIL_TOLD = b"mkfifo go; echo >here; read x <go"


def go_on(attempt: Attempt, process: subprocess.Popen[bytes]) -> None:
    """Tells a command that waits to go on, and waits for its job.sh."""
    go = os.open(attempt.cwd / "go", os.O_RDWR)
    os.write(go, b"go\n")
    try:
        process.wait(LIMIT)
    finally:
        os.close(go)


def wait_for(path: Path) -> None:
    limit = time.monotonic() + LIMIT
    while not (path.exists() and path.read_bytes().endswith(b"\n")):
        assert time.monotonic() < limit, f"no {path}"
        time.sleep(0.005)


@pytest.fixture(params=SHELLS, ids=SHELL_IDS)
def attempt(request: pytest.FixtureRequest, tmp_path: Path) -> Attempt:
    return Attempt(tmp_path, request.param)


@pytest.fixture
def attempts(tmp_path: Path) -> Iterator[object]:
    """Makes fresh attempts, for tests that run many."""

    def fresh() -> list[Attempt]:
        return [Attempt(Path(tempfile.mkdtemp(dir=tmp_path)), words) for words in SHELLS]

    return fresh  # type: ignore[return-value]


def by_name(data: bytes) -> dict[bytes, bytes]:
    return {entry.partition(b"=")[0]: entry.partition(b"=")[2] for entry in data.split(b"\0") if entry}


def test_there_are_shells_to_try() -> None:
    assert SHELLS


BYTES = st.binary(max_size=30).map(lambda value: value.replace(b"\0", b""))
NAMES = st.one_of(
    st.sampled_from([
        b"BASH_FUNC_x%%", b"a.b", b"UID", b"EUID", b"PPID", b"SHELLOPTS", b"BASHOPTS", b"OPTIND", b"IFS", b"PS4",
        b"RANDOM", b"SECONDS", b"LINENO", b"GROUPS", b"BASH_COMPAT", b"HISTCMD", b"ENV", b"BASH_ENV", b"PATH", b"HOME",
        b"CDPATH", b"LC_ALL", b"LANG", b"POSIXLY_CORRECT", b"dir", b"bell", b"boot", b"stat", b"TERM", b"TMUX",
        b"-i", b"--help", b"-", b" ", b"'", b"\n", b"\xff", b"0", b"PS1", b"OPTARG", b"FUNCNAME", b"PIPESTATUS",
        b"DIRSTACK", b"SHELL", b"BASH_XTRACEFD", b"MAIL", b"FCEDIT", b"NOCLOBBER",
    ]),
    st.from_regex(rb"\A[A-Za-z_][A-Za-z0-9_]{0,8}\Z"),
    st.binary(min_size=1, max_size=6).filter(lambda name: b"\0" not in name and b"=" not in name),
).filter(lambda name: not name.startswith(b"LD_"))  # fmt: skip
VALUES = BYTES | st.sampled_from([bytes(range(1, 256)), b"() { echo hi; }", b"a\nb\n", b"$(touch x)`x`", b"\\", b"'"])


@settings(max_examples=depth.examples(30), deadline=None, suppress_health_check=SUPPRESSED)
@given(st.dictionaries(NAMES, VALUES, max_size=8))
@example({b"ALL": bytes(range(1, 256)), b"BASH_FUNC_x%%": b"() { echo; }", b"RANDOM": b"7", b"SECONDS": b"x"})
@example({b"IFS": b"/", b"OPTIND": b"x", b"UID": b"9", b"SHELLOPTS": b"noexec", b"PS4": b"$(exit)", b"a.b": b"\n"})
@example({b"-i": b"x", b"--help": b"y", b"--version": b"z"})
@example({b"TMUX": b"mine", b"TERM": b"vt100", b"LC_ALL": b"ja_JP.SJIS", b"X": b"\x83\x5c'"})
def test_the_command_sees_the_environment_that_it_was_given_and_no_more(
    attempts: object, environment: dict[bytes, bytes]
) -> None:
    for attempt in attempts():  # type: ignore[operator]
        attempt.export(environment)
        seen = by_name(attempt.run(*SHOW_ENVIRONMENT))
        del seen[b"GFLOW_TEST_MARK"]  # by which the tests find what is left behind
        expected = {**environment, b"GFLOW_JOB_ID": b"1", b"PWD": os.fsencode(attempt.cwd)}
        for name in SHELLS_DOING:
            seen.pop(name, None)
            expected.pop(name, None)
        assert seen == expected
        assert attempt.exit() == b"0\n"


@settings(max_examples=depth.examples(30), deadline=None, suppress_health_check=SUPPRESSED)
@given(st.lists(VALUES, max_size=6))
@example([b"it's", b'"$HOME"', b"`x`", "grüße ☃".encode(), b"", b"a\nb", b"*", b"-n", b"\\n", b"%s", b"#"])
@example([bytes(range(1, 256))])
def test_the_command_gets_its_words_byte_for_byte(attempts: object, words: list[bytes]) -> None:
    command = (*SHOW_WORDS, *words)
    for attempt in attempts():  # type: ignore[operator]
        attempt.export({b"odd.name": b"x"})
        assert attempt.run(*command) == b"".join(word + b"\0" for word in command)


@pytest.mark.parametrize("name", [b"a=b", b"=", b"-x", b"--", b"-c", b"two words", b"it's", b"\xff\n"])
@pytest.mark.parametrize("odd", [False, True])
def test_a_command_may_be_called_anything(attempt: Attempt, name: bytes, odd: bool) -> None:
    program = os.path.join(os.fsencode(attempt.cwd), name)
    Path(os.fsdecode(program)).write_bytes(b'#!/bin/sh\nprintf %s "$*"\n')
    os.chmod(program, 0o755)
    attempt.export({b"PATH": os.fsencode(attempt.cwd) + b":/usr/bin:/bin", **({b"odd.name": b"1"} if odd else {})})
    assert attempt.run(name, b"1", b"2") == b"1 2"
    assert attempt.exit() == b"0\n"


@pytest.mark.parametrize("status", [0, 1, 2, 42, 126, 127, 128, 129, 137, 200, 254, 255])
def test_the_exit_status_is_recorded(attempt: Attempt, status: int) -> None:
    assert attempt.run(b"/bin/sh", b"-c", b"exit %d" % status) == b""
    assert attempt.exit() == b"%d\n" % status


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGSEGV, signal.SIGHUP])
def test_death_by_a_signal_is_128_more_and_the_shell_says_nothing_of_it(attempt: Attempt, number: int) -> None:
    assert attempt.run(b"/bin/sh", b"-c", b"kill -%d $$; sleep 9" % number) == b""
    assert attempt.exit() == b"%d\n" % (128 + number)


def test_a_command_that_is_not_there_is_127_and_the_log_says_so(attempt: Attempt) -> None:
    assert b"no-such-thing" in attempt.run(b"no-such-thing")
    assert attempt.exit() == b"127 not found\n"


@pytest.mark.parametrize("name", [b"./gone", b"-x", b"a=b", b"two words", b"/no/such/place"])
def test_whatever_its_name(attempt: Attempt, name: bytes) -> None:
    attempt.run(name, b"-c", b"exit 3")
    assert attempt.exit() == b"127 not found\n"


def test_so_is_one_whose_interpreter_is_not_there(attempt: Attempt) -> None:
    script = attempt.cwd / "script"
    script.write_bytes(b"#!/no/such/interpreter\n")
    script.chmod(0o755)
    attempt.run(b"./script")
    ended = b"127\n" if "bash" in attempt.words[0] else b"127 not found\n"  # bash 5 ends at once, without a trap
    assert attempt.exit() == ended


def test_a_script_without_its_interpreter_is_not_launched_and_the_interpreter_is_named(attempt: Attempt) -> None:
    attempt.run(b"true", interpreter=b"/no/such\nthing")
    assert attempt.exit() == b"launch its interpreter is missing or cannot be executed: /no/such?thing\n"


def test_what_is_no_program_is_126_and_told_apart_from_a_program_that_says_so(attempt: Attempt) -> None:
    (attempt.cwd / "data").write_bytes(b"x")
    attempt.run(b"./data")
    assert attempt.exit() == b"126 not executable\n"


def test_output_and_error_are_the_commands_own_and_nothing_else(attempt: Attempt) -> None:
    assert attempt.run(b"/bin/sh", b"-c", b"echo out; echo err >&2") == b"out\nerr\n"


def test_a_second_copy_ends_silently_and_runs_nothing(attempt: Attempt) -> None:
    command = (b"/bin/sh", b"-c", b"echo ran >>ran; " + UNTIL_TOLD)
    first = attempt.spawn(*command)
    wait_for(attempt.cwd / "here")
    began = attempt.read("pid")
    assert attempt.run(*command) == b""
    assert first.poll() is None
    assert not (attempt.directory / "exit").exists()
    go_on(attempt, first)
    assert attempt.run(*command) == b""
    assert (attempt.cwd / "ran").read_text() == "ran\n"
    assert attempt.read("pid") == began
    assert attempt.exit() == b"0\n"


def test_on_a_node_of_a_cluster_it_names_that_and_holds_nothing(attempt: Attempt) -> None:
    os.unlink(attempt.directory / "alive")
    for name in job_script.PIPES:
        os.mkfifo(attempt.directory / name)
    both = os.fsencode(attempt.cwd / "out")
    attempt.run(b"/bin/sh", b"-c", b"echo a; echo b >&2; exit 4", remote=True, to_file=True, output=both, error=both)
    assert (attempt.cwd / "out").read_bytes() == b"a\nb\n"
    assert attempt.exit() == b"4\n"
    assert attempt.read("pid").splitlines()[1] == b" "
    assert not (attempt.directory / "alive").exists()


def test_on_a_node_of_a_cluster_its_status_is_the_commands(attempt: Attempt) -> None:
    """By it the cluster tells good ends from bad ones; here nobody reads it."""
    ends = {b"exit 0": 0, b"exit 4": 4, b"kill -9 $$": 137}
    for text, status in ends.items():
        assert attempt.spawn(b"/bin/sh", b"-c", text, remote=True).wait(LIMIT) == status
        os.unlink(attempt.directory / "pid")
    assert attempt.spawn(b"/bin/true", remote=True, cwd=b"/nowhere").wait(LIMIT) == 125


def test_many_copies_at_once_run_the_command_once(attempt: Attempt) -> None:
    path = attempt.write(b"/bin/sh", b"-c", b"echo ran >>ran")
    copies = [attempt.spawn_again(path) for _ in range(8)]
    for copy in copies:
        copy.wait(LIMIT)
    assert (attempt.cwd / "ran").read_text() == "ran\n"


def test_a_barred_attempt_never_begins(attempt: Attempt) -> None:
    (attempt.directory / "pid").write_bytes(b"barred why\n")
    attempt.run(b"/bin/sh", b"-c", b"echo ran >>ran")
    assert not (attempt.cwd / "ran").exists()
    assert not (attempt.directory / "exit").exists()


def test_the_pid_file_names_the_shell_itself(attempt: Attempt) -> None:
    process = attempt.spawn(b"/bin/sh", b"-c", b"sleep 0.2")
    wait_for(attempt.directory / "pid")
    boot, pid, *_ = attempt.read("pid").split()
    assert int(pid) == process.pid
    assert boot == Path("/proc/sys/kernel/random/boot_id").read_bytes().strip()
    process.wait(LIMIT)


@pytest.mark.parametrize("missing", ["/no/such/place", "/no/such\nplace", "/it's $gone"])
def test_without_its_working_directory_a_job_is_not_launched(attempt: Attempt, missing: str) -> None:
    assert attempt.run(b"/bin/true", cwd=os.fsencode(missing)) == b""
    assert attempt.exit() == b"launch cannot enter %b\n" % os.fsencode(missing.replace("\n", "?"))


def test_without_its_environment_a_job_is_not_launched(attempt: Attempt) -> None:
    attempt.environment.unlink()
    assert attempt.run(b"/bin/true") == b""
    assert attempt.exit() == b"launch its environment is gone\n"


@pytest.mark.parametrize("kind", ["output", "error", "input"])
def test_a_file_that_cannot_be_opened_is_named(attempt: Attempt, kind: str) -> None:
    path = os.fsencode(attempt.root / "it's")
    if kind != "input":
        os.mkdir(path)
    assert attempt.run(b"/bin/true", **{kind: path}) == b""
    verb = b"read" if kind == "input" else b"write"
    assert attempt.exit() == b"launch cannot %b %b\n" % (verb, path)


def test_missing_directories_of_its_files_are_made_so_that_it_can_write_there(attempt: Attempt) -> None:
    out, err = files(attempt, "a 'b'/c/o", "a 'b'/e")
    assert attempt.run(*BOTH, output=out, error=err, umask=0o327) == b""
    assert (Path(os.fsdecode(out)).read_bytes(), Path(os.fsdecode(err)).read_bytes()) == (b"out\n", b"err\n")
    assert [stat.S_IMODE(os.stat(os.path.dirname(each)).st_mode) for each in (out, err)] == [0o750, 0o750]
    assert [stat.S_IMODE(os.stat(each).st_mode) for each in (out, err)] == [0o640, 0o640], "opened twice"


def test_a_directory_that_cannot_be_made_is_told_with_the_reason(attempt: Attempt) -> None:
    (attempt.root / "file").touch()
    (out,) = files(attempt, "file/it's/o")
    assert attempt.run(*BOTH, output=out) == b""
    where = os.path.dirname(out)
    assert attempt.exit() == b"launch cannot create directory %b: Not a directory\n" % where


def test_a_named_pipe_is_opened_but_once(attempt: Attempt) -> None:
    """To close it would be the end for who reads it."""
    (out,) = files(attempt, "pipe")
    os.mkfifo(out)
    emptied = (job_script.Emptied(out, os.fsencode(attempt.root / "mark"), shared=True),)
    process = attempt.spawn(*BOTH, output=out, emptied=emptied)
    with open(out, "rb") as pipe:
        assert pipe.read() == b"out\nerr\n"
    process.wait(LIMIT)
    assert attempt.exit() == b"0\n"


BOTH = (b"/bin/sh", b"-c", b"echo out; echo err >&2")


def files(attempt: Attempt, *names: str) -> list[bytes]:
    return [os.fsencode(attempt.root / name) for name in names]


def test_output_takes_errors_along_unless_they_go_elsewhere(attempt: Attempt) -> None:
    (out,) = files(attempt, "o $x 'y'")
    assert attempt.run(*BOTH, output=out) == b""
    assert Path(os.fsdecode(out)).read_bytes() == b"out\nerr\n"


def test_output_and_error_go_to_their_own_files(attempt: Attempt) -> None:
    out, err = files(attempt, "o", "e")
    assert attempt.run(*BOTH, output=out, error=err) == b""
    assert (attempt.root / "o").read_bytes() == b"out\n"
    assert (attempt.root / "e").read_bytes() == b"err\n"


def test_with_only_an_error_file_the_output_stays_in_the_log(attempt: Attempt) -> None:
    (err,) = files(attempt, "e")
    assert attempt.run(*BOTH, error=err) == b"out\n"
    assert (attempt.root / "e").read_bytes() == b"err\n"


def test_one_file_for_both_loses_nothing(attempt: Attempt) -> None:
    (both,) = files(attempt, "both")
    attempt.run(*BOTH, output=both, error=both)
    assert (attempt.root / "both").read_bytes() == b"out\nerr\n"


@pytest.mark.parametrize("append", [False, True])
def test_a_file_is_written_anew_unless_it_is_to_be_appended_to(attempt: Attempt, append: bool) -> None:
    out, err = files(attempt, "o", "e")
    for name in ("o", "e"):
        (attempt.root / name).write_text("old\n")
    attempt.run(*BOTH, output=out, error=err, append=append)
    old = b"old\n" if append else b""
    assert (attempt.root / "o").read_bytes() == old + b"out\n"
    assert (attempt.root / "e").read_bytes() == old + b"err\n"


def test_input_is_read_and_without_it_there_is_none(attempt: Attempt) -> None:
    (attempt.root / "in").write_bytes(bytes(range(256)) * 300)
    assert attempt.run(b"/bin/cat", input=files(attempt, "in")[0]) == bytes(range(256)) * 300


def test_where_all_output_goes_to_a_file_there_is_no_terminal_to_wait_at(attempt: Attempt) -> None:
    """As a job in tmux has one: neither its standard input nor /dev/tty is."""
    out = attempt.cwd / "out"
    text = b"readlink /proc/self/fd/0; (: </dev/tty) 2>/dev/null || echo none; exit 3"
    path = attempt.write(b"/bin/sh", b"-c", text, output=os.fsencode(out))
    pid, terminal = pty.fork()
    if not pid:
        os.execve(attempt.words[0], [*attempt.words, str(path)], AROUND)
    with contextlib.suppress(OSError):  # what a terminal says when its last user has gone
        while os.read(terminal, 1000):
            pass
    os.waitpid(pid, 0)
    os.close(terminal)
    assert (attempt.exit(), out.read_text()) == (b"3\n", "/dev/null\nnone\n")


def test_tmpdir_is_the_submitters_own_else_the_jobs(attempt: Attempt, tmp_path: Path) -> None:
    own, given = tmp_path / "own" / "1", tmp_path / "given"
    show = (b"/bin/sh", b"-c", b'stat -c %a "$TMPDIR"; echo "$TMPDIR"; echo "$GFLOW_JOB_TMPDIR"')
    for environment, expected in (
        ({}, own),
        ({b"TMPDIR": b""}, own),
        ({b"TMPDIR": os.fsencode(given)}, given),
        ({b"TMPDIR": b"/dev/null/x"}, own),
    ):
        attempt.export(environment)
        for name in ("pid", "exit", "log"):
            (attempt.directory / name).unlink(missing_ok=True)
        said = attempt.run(*show, scratch=os.fsencode(own))
        assert said.decode().splitlines() == ["700", str(expected), str(own)], environment


def test_the_commands_process_is_told_of_itself(attempt: Attempt) -> None:
    said = attempt.run(b"/bin/sh", b"-c", b"echo $$; echo $SLURM_TASK_PID", pid_name="SLURM_TASK_PID")
    first, second = said.split()
    assert first == second


def test_the_umask_is_the_submitters_for_the_job_and_ours_for_our_files(attempt: Attempt) -> None:
    (out,) = files(attempt, "o")
    attempt.run(b"/bin/sh", b"-c", b"umask >u; echo >made", output=out, umask=0o027)
    assert (attempt.cwd / "u").read_text() == "0027\n"
    for path in (attempt.cwd / "made", attempt.root / "o"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
    for name in ("pid", "alive", "exit"):
        assert stat.S_IMODE((attempt.directory / name).stat().st_mode) == 0o600


@pytest.mark.parametrize("pipes", [True, False], ids=["named pipe", "file system without"])
def test_alive_is_held_while_a_child_in_the_background_lives(attempt: Attempt, pipes: bool) -> None:
    if not pipes:
        (attempt.directory / "alive").unlink()
    process = attempt.spawn(b"/bin/sh", b"-c", b"(sleep 30) & echo $! >child")
    process.wait(LIMIT)
    child = int((attempt.cwd / "child").read_text())
    try:
        assert attempt.exit() == b"0\n"
        assert attempt.held()
    finally:
        os.kill(child, signal.SIGKILL)
    limit = time.monotonic() + LIMIT
    while attempt.held():
        assert time.monotonic() < limit
        time.sleep(0.005)


def test_alive_is_held_as_soon_as_the_command_runs_and_free_after_it(attempt: Attempt) -> None:
    process = attempt.spawn(b"/bin/sh", b"-c", UNTIL_TOLD)
    wait_for(attempt.cwd / "here")
    assert attempt.held()
    go_on(attempt, process)
    assert not attempt.held()


def test_the_command_has_no_descriptor_of_ours_but_alive(attempt: Attempt) -> None:
    assert attempt.run(b"/bin/sh", b"-c", b"/bin/ls /proc/$$/fd; :").split() == [b"0", b"1", b"2", b"9"]


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGABRT, signal.SIGUSR1, signal.SIGUSR2,
        signal.SIGALRM, signal.SIGPIPE, signal.SIGXCPU, signal.SIGTSTP, signal.SIGIO,
    ],
)  # fmt: skip
def test_a_signal_to_the_shell_does_not_cost_the_record(attempt: Attempt, number: signal.Signals) -> None:
    process = attempt.spawn(b"/bin/sh", b"-c", UNTIL_TOLD + b"; exit 5")
    wait_for(attempt.cwd / "here")
    process.send_signal(number)
    go_on(attempt, process)
    assert attempt.exit() == b"5\n"
    assert attempt.log() == b""


def test_a_status_that_cannot_be_written_yet_is_written_when_it_can_be(attempt: Attempt) -> None:
    """As on a full disk; something lives until then, so that nobody takes the job for vanished."""
    (attempt.directory / "exit").mkdir()
    process = attempt.spawn(b"/bin/sh", b"-c", b"echo >here; exit 5")
    wait_for(attempt.cwd / "here")
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.3)
    assert attempt.held()
    (attempt.directory / "exit").rmdir()
    process.wait(LIMIT)
    assert attempt.exit() == b"5\n"
    assert attempt.log() == b""


@pytest.mark.parametrize("reserved", [True, False])
def test_a_status_for_which_there_is_no_room_goes_where_room_was_made(attempt: Attempt, reserved: bool) -> None:
    (attempt.directory / "exit").symlink_to("missing/exit")  # it cannot be written, but can be renamed over
    if reserved:
        os.close(jobdir.reserve(str(attempt.directory)))
    attempt.run(b"/bin/sh", b"-c", b"exit 5")
    assert not (attempt.directory / "exit").is_symlink()
    record = jobdir.exit_record(str(attempt.directory))
    assert record is not None
    assert (record.status, record.trouble) == (5, None)
    assert jobdir.noted(str(attempt.directory)) is None
    assert attempt.log() == b""


@pytest.fixture
def full(attempt: Attempt) -> Iterator[Attempt]:
    """Its directory is a file system of its own, on which there is room for job.sh and what was made before it."""
    if os.geteuid():
        pytest.skip("only root may mount")
    words = ["mount", "-t", "tmpfs", "-o", "size=16k,mode=0700", "gflow-test", str(attempt.directory)]
    if subprocess.run(words, check=False).returncode:
        pytest.skip("may not mount here")
    os.mkfifo(attempt.directory / "alive", 0o600)
    os.close(jobdir.reserve(str(attempt.directory)))
    yield attempt
    subprocess.run(["umount", str(attempt.directory)], check=True)


def test_one_of_many_copies_begins_where_room_was_made_for_it(full: Attempt) -> None:
    path = full.write(b"/bin/sh", b"-c", b"echo >>ran; " + UNTIL_TOLD)
    (full.directory / "log").touch()
    with contextlib.suppress(OSError), (full.directory / "ballast").open("ab", buffering=0) as ballast:
        while True:
            ballast.write(bytes(4096))
    copies = [full.spawn_again(path) for _ in range(8)]
    wait_for(full.cwd / "here")
    begun = jobdir.beginning(str(full.directory))
    assert begun is not None
    assert begun.identity is not None
    winner = next(each for each in copies if each.pid == begun.identity.pid)
    for each in copies:
        if each is not winner:
            each.wait(LIMIT)
    (full.directory / "ballast").unlink()
    go_on(full, winner)
    assert (full.cwd / "ran").read_text() == "\n"
    assert full.exit() == b"0\n"


def test_what_was_used_is_noted_in_the_room_that_was_made(attempt: Attempt) -> None:
    os.close(jobdir.reserve(str(attempt.directory)))
    before = (attempt.directory / "used").stat()
    attempt.run(b"/bin/sh", b"-c", b"exit 5")
    after = (attempt.directory / "used").stat()
    assert (after.st_ino, after.st_size) == (before.st_ino, len(job_script.BLANK))
    noted = jobdir.noted(str(attempt.directory))
    assert noted is not None
    assert noted.children is not None
    assert attempt.exit() == b"5\n"


def test_a_signal_to_the_whole_group_ends_the_command_and_is_recorded(attempt: Attempt) -> None:
    process = attempt.spawn(b"/bin/sh", b"-c", b"echo >here; exec sleep 30")
    wait_for(attempt.cwd / "here")
    os.killpg(process.pid, signal.SIGINT)
    process.wait(LIMIT)
    assert attempt.exit() == b"130\n"
    assert attempt.log() == b""


def test_the_command_has_default_signals(attempt: Attempt) -> None:
    out = attempt.run(b"/bin/cat", b"/proc/self/status")
    sets = dict(line.partition(b":\t")[::2] for line in out.splitlines())
    standard = 0x7FFFFFFF  # 32 and 33 are the C library's own: whoever runs the tests may have them ignored
    assert [int(sets[name], 16) & standard for name in (b"SigBlk", b"SigIgn", b"SigCgt")] == [0, 0, 0]


def test_the_bell_rings_at_the_end(attempt: Attempt) -> None:
    os.mkfifo(attempt.bell)
    bell = os.open(attempt.bell, os.O_RDWR | os.O_NONBLOCK)
    try:
        attempt.run(b"/bin/true")
        assert os.read(bell, 99) == b"e"
    finally:
        os.close(bell)


@pytest.mark.parametrize("kind", ["missing", "file", "fifo without a reader", "directory"])
def test_a_bell_that_nobody_hears_holds_nothing_up(attempt: Attempt, kind: str) -> None:
    if kind == "file":
        attempt.bell.write_text("mine")
    elif kind == "directory":
        attempt.bell.mkdir()
    elif kind != "missing":
        os.mkfifo(attempt.bell)
    assert attempt.run(b"/bin/echo", b"hi") == b"hi\n"
    assert attempt.exit() == b"0\n"
    assert attempt.bell.exists() == (kind != "missing")
    assert kind != "file" or attempt.bell.read_text() == "mine"


def test_a_title_cannot_end_its_comment(attempt: Attempt) -> None:
    assert attempt.run(b"/bin/echo", b"hi", title="x\ntouch gone\r\x1b[2J %d ☃") == b"hi\n"
    assert sorted(os.listdir(attempt.directory)) == ["alive", "exit", "job.sh", "log", "pid", "used"]


def test_what_the_command_used_is_noted_and_what_its_group_counted(attempt: Attempt) -> None:
    attempt.run(b"/bin/sh", b"-c", b"i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done")
    found = usage.noted((attempt.directory / "used").read_text())
    assert (found.peak, found.cpu) == (None, None)
    assert found.children
    group = attempt.root / "group"
    group.mkdir()
    for name, text in (("memory.peak", "7340032\n"), ("cpu.stat", "usage_usec 2500000\nuser_usec 9\n")):
        (group / name).write_text(text)
    for name in ("pid", "exit"):
        (attempt.directory / name).unlink()
    attempt.run(b"/bin/true", cgroup=os.fsencode(group))
    found = usage.noted((attempt.directory / "used").read_text())
    assert (found.peak, found.cpu) == (7340032, 2.5)
    (group / "memory.peak").unlink()
    for name in ("pid", "exit"):
        (attempt.directory / name).unlink()
    attempt.run(b"/bin/false", cgroup=os.fsencode(group))
    found = usage.noted((attempt.directory / "used").read_text())
    assert (found.peak, found.cpu) == (None, 2.5), "an older kernel"
    assert (attempt.directory / "exit").read_text() == "1\n"


def test_a_job_whose_directory_is_gone_does_nothing(attempt: Attempt) -> None:
    path = attempt.write(b"/bin/sh", b"-c", b"echo ran >>ran")
    moved = attempt.root / "job.sh"
    path.rename(moved)
    (attempt.directory / "alive").unlink()
    attempt.directory.rmdir()
    assert subprocess.run([*attempt.words, moved], capture_output=True, check=False).stdout == b""
    assert not (attempt.cwd / "ran").exists()


def test_strings_that_are_no_variables_are_left_out() -> None:
    assert job_script.environment_script(b"\0no equals\0=nameless\0A=1\0") == b"export A='1'\n"
    assert job_script.environment_script(b"") == b""


def full_script(attempt: Attempt) -> Path:
    out, err, source = files(attempt, "o", "e", "in")
    attempt.export({b"A": b"'$x", b"a.b": b"`"})
    return attempt.write(b"-x", b"it's $HOME", output=out, error=err, input=source, append=True)


def marking_script(attempt: Attempt) -> Path:
    out, err = files(attempt, "o", "e")
    once = (job_script.Emptied(out, b"/m'1", shared=True), job_script.Emptied(err, b"/m 2", shared=False))
    return attempt.write(b"-x", output=out, error=err, emptied=once)


def script_of_two_parts(attempt: Attempt) -> Path:
    out, _ = files(attempt, "o", "e")
    return attempt.write(b"-x", output=out, own=b"/own's/u", cgroup=b"/group")


def test_the_shells_find_no_fault_in_the_script(attempt: Attempt) -> None:
    for path in (full_script(attempt), marking_script(attempt), script_of_two_parts(attempt), attempt.environment):
        done = subprocess.run([*attempt.words, "-n", path], capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="no shellcheck")
def test_shellcheck_finds_no_fault_in_the_script(tmp_path: Path) -> None:
    attempt = Attempt(tmp_path, SHELLS[0])
    for script in (full_script(attempt), marking_script(attempt), script_of_two_parts(attempt)):
        words = ["shellcheck", "-s", "sh", "-S", "warning", script]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.stdout == ""


@pytest.fixture
def own(attempt: Attempt) -> Iterator[Path]:
    """The user's part of the directory, in root's, which then holds what root has put there."""
    place = attempt.directory / "u"
    place.mkdir(mode=0o700)
    (attempt.directory / "alive").unlink()
    (attempt.directory / "log").touch()
    yield place
    assert sorted(os.listdir(attempt.directory)) == ["job.sh", "log", "u"]


def test_of_a_directory_in_two_parts_only_the_users_is_written(attempt: Attempt, own: Path) -> None:
    out, err = files(attempt, "o", "e")
    script = b"echo to file; echo more >&2; exit 3"
    attempt.run(b"/bin/sh", b"-c", script, output=out, error=err, own=os.fsencode(own))
    assert sorted(os.listdir(own)) == ["err", "exit", "out", "pid", "used"]
    assert (own / "exit").read_bytes() == b"3\n"
    assert jobdir.beginning(str(own)) is not None
    eventually(
        lambda: ((attempt.root / "o").read_bytes(), (attempt.root / "e").read_bytes()) == (b"to file\n", b"more\n")
    )


def test_what_was_not_found_there_is_noted_in_the_users_part(attempt: Attempt, own: Path) -> None:
    attempt.run(b"no such thing", own=os.fsencode(own))
    assert (own / "exit").read_bytes() == b"127 not found\n"


def test_what_root_has_barred_in_its_part_runs_nothing(attempt: Attempt, own: Path) -> None:
    (attempt.directory / "barred").touch()
    attempt.run(b"/usr/bin/touch", b"ran", own=os.fsencode(own))
    (attempt.directory / "barred").unlink()
    assert (os.listdir(own), os.listdir(attempt.cwd)) == (["pid"], [])


CONDA = r"""#!/bin/sh
# What conda does as far as a shell sees it: the hook defines a function, which has the environment's exports made.
case $1,$2 in
shell.posix,hook) cat <<'HOOK'
conda() {
  set -- "$@" more
  conda_said="$("$CONDA_EXE" shell.posix "$1" "$2")" || return
  eval "$conda_said"
}
HOOK
  echo "export CONDA_EXE='$0'" ;;
shell.posix,activate)
  case $3 in
  ml|"it's x") echo "export CONDA_DEFAULT_ENV=\"$3\" PATH=\"$(dirname "$0")/envs:\$PATH\"; echo activated"; cat ;;
  *) printf '\nEnvironmentNameNotFound: Could not find conda environment: %s\nYou can list\n' "$3" >&2; exit 1 ;;
  esac ;;
shell.posix,broken) echo 'if' ;;
esac
"""
TELL = b'echo "$CONDA_DEFAULT_ENV $0 $*"; tool; cat; exit 7'


def with_conda(attempt: Attempt, text: str = CONDA, **variables: bytes) -> None:
    place = attempt.root / "conda"
    (place / "envs").mkdir(parents=True, exist_ok=True)
    for path, content in ((place / "conda", text), (place / "envs" / "tool", "#!/bin/sh\necho a tool\n")):
        path.write_text(content)
        path.chmod(0o700)
    path = os.fsencode(place) + b":/usr/bin:/bin"
    attempt.export({b"PATH": path, b"dir": b"/nowhere", **{name.encode(): v for name, v in variables.items()}})


@pytest.mark.parametrize("name", [b"ml", b"it's x"])
def test_a_conda_environment_is_active_for_the_command(attempt: Attempt, name: bytes) -> None:
    with_conda(attempt)
    out, source = files(attempt, "out", "in")
    (attempt.root / "in").write_text("input\n")
    attempt.run(b"sh", b"-c", TELL, b"zero", b"a b", output=out, input=source, conda_env=name)
    assert (attempt.root / "out").read_bytes() == name + b" zero a b\na tool\ninput\n"
    assert (attempt.exit(), attempt.log()) == (b"7\n", b"")
    assert attempt.read("conda") == b"activated\n"
    assert stat.S_IMODE((attempt.directory / "conda").stat().st_mode) == 0o600


def test_of_a_conda_that_is_not_on_the_path_its_variable_tells(attempt: Attempt) -> None:
    with_conda(attempt)
    conda = os.fsencode(attempt.root / "conda" / "conda")
    attempt.export({b"PATH": b"/usr/bin:/bin", b"CONDA_EXE": conda})
    assert attempt.run(b"sh", b"-c", b"tool", conda_env=b"ml") == b"a tool\n"


def test_an_environment_that_is_active_already_needs_no_conda(attempt: Attempt) -> None:
    attempt.export({b"PATH": b"/usr/bin:/bin", b"CONDA_DEFAULT_ENV": b"ml"})
    assert attempt.run(b"sh", b"-c", b"echo ran", conda_env=b"ml") == b"ran\n"
    assert attempt.exit() == b"0\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (CONDA, b"EnvironmentNameNotFound: Could not find conda environment: none"),
        (CONDA.replace("cat <<'HOOK'", "cat <<'HOOK'\n("), None),
        ("#!/bin/sh\necho out of order >&2; exit 1\n", b"out of order"),
        (None, b"there is no conda"),
    ],
)
def test_an_environment_that_cannot_be_activated_is_a_failed_launch(
    attempt: Attempt, text: str | None, said: bytes | None
) -> None:
    attempt.export({b"PATH": b"/usr/bin:/bin"})
    if text is not None:
        with_conda(attempt, text)
    assert attempt.run(b"sh", b"-c", b"echo ran", conda_env=b"none") == b""
    begin = b"launch conda activate none: "
    assert attempt.exit().startswith(begin)
    assert attempt.exit().count(b"\n") == 1
    assert said is None or attempt.exit() == begin + said + b"\n"


def test_with_a_conda_environment_the_command_is_still_the_only_child(attempt: Attempt) -> None:
    with_conda(attempt)
    text = b'; ls -l /proc/$$/fd 2>/dev/null | grep -c alive; trap "exit 3" TERM; kill $$'
    process = attempt.spawn(b"sh", b"-c", UNTIL_TOLD + text, conda_env=b"ml")
    wait_for(attempt.cwd / "here")
    go_on(attempt, process)
    assert (attempt.exit(), attempt.log()) == (b"3\n", b"1\n")


def test_the_shells_find_no_fault_in_the_script_of_a_conda_environment(attempt: Attempt) -> None:
    path = attempt.write(b"x", conda_env=b"it's $x")
    done = subprocess.run([*attempt.words, "-n", path], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("environment", [{b"PATH": b"/usr/bin:/bin:"}, {}])
def test_a_script_for_slurm_finds_our_srun_first(attempt: Attempt, environment: dict[bytes, bytes]) -> None:
    tools = attempt.root / "our 'tools'"
    tools.mkdir()
    (tools / "srun").write_text('#!/bin/sh\necho "ours: $*"\n')
    (tools / "srun").chmod(0o700)
    attempt.export(environment)
    said = attempt.run(b"/bin/sh", b"-c", b"srun a 'b  c'; echo $PATH", tools=os.fsencode(tools))
    path = environment.get(b"PATH", b"/usr/local/bin:/usr/bin:/bin")
    assert said == b"ours: a b  c\n%b:%b\n" % (os.fsencode(tools), path)


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_our_srun_outlives_a_shell_that_sets_a_path_of_its_own(attempt: Attempt) -> None:
    tools = attempt.root / "our 'tools'"
    tools.mkdir()
    (tools / "srun").write_text('#!/bin/sh\necho "ours: $*"\n')
    (tools / "srun").chmod(0o700)
    attempt.export({b"PATH": b"/usr/bin:/bin"})
    said = attempt.run(b"bash", b"-c", b"PATH=/usr/bin:/bin; srun a; bash -c 'srun b'", tools=os.fsencode(tools))
    assert said == b"ours: a\nours: b\n"


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
@pytest.mark.parametrize("path", ["", "PATH=/usr/bin:/bin; "])
def test_the_process_that_bash_has_in_the_background_is_our_srun(attempt: Attempt, path: str) -> None:
    tools = attempt.root / "our 'tools'"
    tools.mkdir()
    (tools / "srun").symlink_to(shutil.which("sleep") or "")
    text = f"{path}srun 60 & for i in {{1..500}}; do grep -q srun /proc/$!/cmdline && break; sleep 0.02; done"
    text += "; kill $!; wait $!; echo $?"
    text += "; (srun 0; echo on; srun 0); nosuch; echo $?"
    said = attempt.run(b"bash", b"-c", text.encode(), tools=os.fsencode(tools))
    assert said == b"143\non\nbash: line 1: nosuch: command not found\n127\n"


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
@pytest.mark.parametrize("own", [True, False])
def test_our_tools_come_first_again_after_the_profiles_of_a_login(attempt: Attempt, own: bool) -> None:
    tools, home, read = attempt.root / "our 'tools'", attempt.root / "home", attempt.root / "env.bash"
    for place in (tools, home):
        place.mkdir()
    (tools / "srun").write_text('#!/bin/sh\necho "ours: $*"\n')
    (tools / "srun").chmod(0o700)
    (tools / job_script.AFTER_LOGIN).write_bytes(job_script.after_login(os.fsencode(tools)))
    (home / ".bash_profile").write_text("PATH=/usr/bin:/bin\n")
    read.write_text("echo read\n")
    given = {b"BASH_ENV": os.fsencode(read)} if own else {}
    attempt.export({b"PATH": b"/usr/bin:/bin", b"HOME": os.fsencode(home), **given})
    script = attempt.root / "login.sh"
    script.write_text("env srun a; echo ${BASH_ENV-none} ${GFLOW_JOB_BASH_ENV-none}\n")
    said = attempt.run(b"bash", b"-l", os.fsencode(script), tools=os.fsencode(tools), login=True)
    assert said == (b"read\nours: a\n%b none\n" % os.fsencode(read) if own else b"ours: a\nnone none\n")


def test_a_login_is_told_by_the_first_line() -> None:
    for line in (b"#!/bin/bash -l", b"#! /usr/bin/bash --login", b"#!/usr/bin/env -S bash -el"):
        assert job_script.is_login(job_script.interpreter(line))
    for line in (b"#!/bin/bash", b"#!/bin/sh -l", b"#!/bin/bash -e", b"#!/bin/bash --noprofile", b""):
        assert not job_script.is_login(job_script.interpreter(line))


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"#!/bin/sh\necho", (b"/bin/sh",)),
        (b"#! /usr/bin/env  python3 -u \n", (b"/usr/bin/env", b"python3 -u")),
        (b"#!/bin/bash -l", (b"/bin/bash", b"-l")),
        (b"echo\n", ()),
        (b"#!\n", ()),
        (b"", ()),
    ],
)
def test_the_interpreter_of_a_script_is_that_of_its_first_line(head: bytes, words: tuple[bytes, ...]) -> None:
    assert job_script.interpreter(head) == words


AGAIN = b"echo one; echo two >/dev/stdout; echo three >/dev/stderr; echo four"


def with_pipes(attempt: Attempt, command: tuple[bytes, ...], **fields: object) -> bytes:
    """What a job writes to its log with its pipes beside it, once all is copied; how it ended is left in `exit`."""
    launch = {"output": None, "error": None, "to_file": False, **fields}
    for name in job_script.pipes(job_script.Launch("", b"", b"", b"", (), b"", 0, command, **launch)):  # type: ignore[arg-type]
        os.mkfifo(attempt.directory / name, 0o600)
    attempt.run(*command, **fields)
    limit = time.monotonic() + LIMIT
    while not jobdir.is_copied(str(attempt.directory)):
        assert time.monotonic() < limit, "it is copied for ever"
        time.sleep(0.005)
    assert attempt.exit() == b"0\n"
    return attempt.log()


def test_a_log_that_is_a_file_is_written_through_a_pipe(attempt: Attempt) -> None:
    assert with_pipes(attempt, (b"/bin/sh", b"-c", AGAIN), to_file=True) == b"one\ntwo\nthree\nfour\n"


def test_so_are_files_that_are_named(attempt: Attempt) -> None:
    out, err = attempt.cwd / "out", attempt.cwd / "err"
    files = {"output": os.fsencode(out), "error": os.fsencode(err)}
    assert with_pipes(attempt, (b"/bin/sh", b"-c", AGAIN), **files) == b""
    assert (out.read_bytes(), err.read_bytes()) == (b"one\ntwo\nfour\n", b"three\n")


def test_one_file_for_output_and_errors_has_one_pipe(attempt: Attempt) -> None:
    files = {"output": os.fsencode(attempt.cwd / "out"), "error": os.fsencode(attempt.cwd) + b"/./out"}
    with_pipes(attempt, (b"/bin/sh", b"-c", AGAIN), **files)
    assert (attempt.cwd / "out").read_bytes() == b"one\ntwo\nthree\nfour\n"


def test_errors_may_have_a_file_beside_a_log_that_is_one(attempt: Attempt) -> None:
    fields = {"error": os.fsencode(attempt.cwd / "err"), "to_file": True}
    assert with_pipes(attempt, (b"/bin/sh", b"-c", AGAIN), **fields) == b"one\ntwo\nfour\n"
    assert (attempt.cwd / "err").read_bytes() == b"three\n"


def test_a_disk_that_is_full_costs_output_and_no_time(attempt: Attempt) -> None:
    """Of a file that takes no more, here because of a limit on its size."""
    limited = attempt.root / "limited"
    limited.write_text(f'#!/bin/sh\nulimit -f 8\nexec {" ".join(attempt.words)} "$@"\n')
    limited.chmod(0o700)
    attempt.words = [str(limited)]
    with_pipes(attempt, (b"/bin/sh", b"-c", b"head -c 300000 /dev/zero; exit 0"), to_file=True)
    assert 0 < len(attempt.log()) <= 4096


def test_the_command_has_no_descriptor_beside_its_own(attempt: Attempt) -> None:
    fields = {"error": os.fsencode(attempt.cwd / "err"), "to_file": True}
    found = with_pipes(attempt, (b"/bin/sh", b"-c", b'ls "/proc/$$/fd"; :'), **fields)
    assert set(found.split()) <= {b"0", b"1", b"2", b"9", b"255"}


@pytest.mark.parametrize("shared", [False, True])
def test_a_file_is_emptied_once_and_then_appended_to(attempt: Attempt, shared: bool) -> None:
    out = attempt.cwd / "it's out"
    out.write_bytes(b"old\n")
    mark = os.fsencode(attempt.root / "it's marked")
    once = job_script.Emptied(os.fsencode(out), mark, shared)
    for _ in range(2):
        attempt.run(b"/bin/sh", b"-c", b"echo new", output=os.fsencode(out), emptied=(once,), umask=0o777)
        (attempt.directory / "pid").unlink()
    assert out.read_bytes() == b"new\nnew\n"
    assert stat.S_IMODE(os.stat(mark).st_mode) in (0o600, 0o200)


def test_a_mark_that_cannot_be_left_does_not_keep_a_job_from_running(attempt: Attempt) -> None:
    out = attempt.cwd / "out"
    for shared in (False, True):
        once = job_script.Emptied(os.fsencode(out), b"/no/such/place", shared)
        attempt.run(b"/bin/sh", b"-c", b"echo new", output=os.fsencode(out), emptied=(once,))
        (attempt.directory / "pid").unlink()
        assert (attempt.exit(), out.read_bytes()) == (b"0\n", b"new\n")


def test_who_comes_while_a_file_is_being_emptied_waits_for_it(attempt: Attempt) -> None:
    out, mark = attempt.cwd / "out", attempt.root / "mark"
    once = job_script.Emptied(os.fsencode(out), os.fsencode(mark), shared=True)
    held = os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    fcntl.flock(held, fcntl.LOCK_EX)
    process = attempt.spawn(b"/bin/sh", b"-c", b"echo new", output=os.fsencode(out), emptied=(once,))
    time.sleep(0.2)
    assert process.poll() is None
    out.write_bytes(b"of another\n")
    os.write(held, b"x")
    os.close(held)
    process.wait(LIMIT)
    assert out.read_bytes() == b"of another\nnew\n"


def test_a_file_that_cannot_be_written_is_told_with_a_mark_too(attempt: Attempt) -> None:
    once = job_script.Emptied(os.fsencode(attempt.cwd), os.fsencode(attempt.root / "mark"), shared=True)
    attempt.run(b"/bin/true", output=os.fsencode(attempt.cwd), emptied=(once,))
    assert attempt.exit().startswith(b"launch cannot write ")
    assert attempt.read("../mark") == b""


def test_the_command_has_the_limits_that_it_was_given_as_far_as_they_go(attempt: Attempt) -> None:
    limited = attempt.root / "limited"
    limited.write_text(f'#!/bin/sh\nulimit -n 200\nulimit -S -c 5\nexec {" ".join(attempt.words)} "$@"\n')
    limited.chmod(0o700)
    attempt.words = [str(limited)]
    limits = (("c", "unlimited"), ("n", "5000"), ("s", "2048"), ("u", "2222"), ("f", "4000"))
    found = attempt.run(b"/bin/bash", b"-c", b"for each in c n s u f; do ulimit -$each; done", limits=limits).decode()
    assert found.split() == ["unlimited", "200", "2048", "2222", "2000"]


def test_pipes_of_the_users_take_input_output_and_errors(attempt: Attempt) -> None:
    place = attempt.root / "a relay's"
    held = relay_directory.make(str(place))
    feed, kept = relay_directory.open_to_feed(str(place))
    ends = [relay_directory.open_pipe(str(place), name) for name in (relay_directory.OUT, relay_directory.ERR)]
    os.write(feed, b"in\n")
    os.close(feed)
    attempt.spawn(b"/bin/sh", b"-c", b"cat; echo err >&2", relay=os.fsencode(place), to_file=True).wait(LIMIT)
    assert [os.read(fd, 100) for fd in ends] == [b"in\n", b"err\n"]
    assert attempt.exit() == b"0\n"
    for fd in (held, kept, *ends):
        os.close(fd)
    relay_directory.remove(str(place))
    assert not place.exists()


def test_a_terminal_of_the_users_is_the_jobs_own(attempt: Attempt) -> None:
    leader, follower = os.openpty()
    place = attempt.root / "relay"
    held = relay_directory.make(str(place), tty=follower)
    attempt.spawn(b"/bin/sh", b"-c", b"echo </dev/tty $(tty) >&2", relay=os.fsencode(place), pty=True).wait(LIMIT)
    assert os.read(leader, 100).decode() == f"{os.ttyname(follower)}\r\n"
    assert attempt.exit() == b"0\n"
    for fd in (held, leader, follower):
        os.close(fd)


def test_where_the_user_takes_the_output_job_sh_wants_no_pipes_of_its_own() -> None:
    fields = {
        "title": "", "directory": b"", "bell": b"", "environment": b"", "variables": (), "cwd": b"/", "umask": 0,
        "command": (b"true",), "to_file": True,
    }  # fmt: skip
    assert job_script.pipes(job_script.Launch(**fields)) == ("out",)  # type: ignore[arg-type]
    assert job_script.pipes(job_script.Launch(**fields, relay=b"/relay")) == ()  # type: ignore[arg-type]


@pytest.mark.parametrize("pty", [True, False])
def test_a_job_whose_user_has_gone_is_not_launched(attempt: Attempt, pty: bool) -> None:
    attempt.spawn(b"true", relay=os.fsencode(attempt.root / "gone"), pty=pty).wait(LIMIT)
    assert attempt.exit() == b"launch its gflowctl run has ended\n"
