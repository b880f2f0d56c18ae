"""What processes of root do where users may write, seen by strace: nothing that a user could turn against root."""

from __future__ import annotations

import os
import re
import shutil
from typing import TYPE_CHECKING, NamedTuple

import pytest
from support.shared_machine import ACCOUNTS, new_shared_machine
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.shared_machine import SharedMachine

TRACED = "%file,connect,bind,fchown,fchmod,flock,fcntl,setuid,setreuid,setresuid,clone,clone3,fork,vfork,ftruncate"
# Below these a user may write; * is one name. In /tmp everybody may.
OF_USERS = (
    "/var/spool/gflow/jobs/*/*/u", "/var/spool/gflow/jobs/*/u", "/var/spool/gflow/users/*/outputs",
    "/var/spool/gflow/users/*/relays", "/var/spool/gflow/gflow-*/*", "/tmp", "/var/tmp", "/dev/shm",
)  # fmt: skip
CHANGES = re.compile(
    r"(creat|truncate|l?chown|fchownat|chmod|fchmodat2?|rename\w*|link|linkat|symlink\w*|mkdir\w*|mknod\w*|unlink\w*|rmdir"
    r"|setxattr|lsetxattr|utime\w*|connect|bind|fchown|fchmod|flock|ftruncate)\b"
)
BY_DESCRIPTOR = re.compile(r"(?:fchown|fchmod|flock|ftruncate|fcntl)\(\d+<(/[^>]*)>")


class Call(NamedTuple):
    """One call of a process whose user was `uid`."""

    uid: int
    text: str

    def paths(self) -> Iterator[str]:
        """All that it names."""
        for base, name in re.findall(r'(?:AT_FDCWD|\d+)<(/[^>]*)>, "((?:[^"\\]|\\.)*)"', self.text):
            yield os.path.normpath(os.path.join(base, name))
        for name in re.findall(r'[(=]"(/(?:[^"\\]|\\.)*)"', self.text):
            yield os.path.normpath(name)
        yield from BY_DESCRIPTOR.findall(self.text)

    @property
    def is_change(self) -> bool:
        """Whether it opens for writing, makes, removes, renames, gives away, locks or connects."""
        if self.text.startswith("open"):
            return re.search(r"O_(WRONLY|RDWR|CREAT|TRUNC)", self.text) is not None
        if self.text.startswith("fcntl"):
            return "F_SETLK" in self.text or "F_OFD_SETLK" in self.text
        return CHANGES.match(self.text) is not None


BORN = re.compile(r"(\d+)\s+(?:<\.\.\. )?(?:clone3?|v?fork)\b.* = (\d+)(?:<[^>]*>)?$")


def calls(lines: list[str], first: int = 0) -> list[Call]:
    """Of all processes, each with the user that it was then; the first had `first`."""
    # A child may be heard of before the call that made it has returned; meanwhile its parent is as it was.
    parents = {born[2]: born[1] for line in lines if (born := BORN.match(line))}
    uids: dict[str, int] = {}
    begun: dict[str, str] = {}
    found = []
    for line in lines:
        pid, _, text = line.partition(" ")
        text = text.strip()
        if pid not in uids:
            uids[pid] = uids.get(parents.get(pid, ""), first)
        if text.endswith("<unfinished ...>"):
            begun[pid] = text
        whole = begun.get(pid, "") + text if text.startswith("<... ") else text
        if re.match(r"set(re|res)?uid\(.* = 0$", whole):
            ids = [int(word) for word in re.findall(r"-?\d+", re.split("[()<]", whole)[1])]
            uids[pid] = next((each for each in reversed(ids[:2]) if each >= 0), uids[pid])
        if not text.startswith("<... "):
            found.append(Call(uids[pid], text))
    return found


def is_below(path: str, patterns: tuple[str, ...]) -> bool:
    """Whether a path is strictly below one of these directories."""
    return any(re.match(re.escape(pattern).replace(r"\*", "[^/]+") + "/", path) for pattern in patterns)


def wrong(found: list[Call], homes: str, fine: tuple[str, ...] = ()) -> list[str]:
    """What root did that it must not: anything in a home, and changes where users may write."""
    ours: set[str] = set()  # directories for users that root has made, and has not given away yet
    return [call.text for call in found if call.uid == 0 and is_wrong(call, homes, fine, ours)]


def is_wrong(call: Call, homes: str, fine: tuple[str, ...], ours: set[str]) -> bool:
    """`ours` is brought up to date."""
    paths = list(call.paths())
    if call.text.startswith("mkdir") and " = -1 " not in call.text:
        ours.update(path for path in paths if is_below(f"{path}/", OF_USERS) and not is_below(path, OF_USERS))
    if call.text.startswith("fchown"):
        ours.difference_update(paths)
    return any(
        is_below(path, (f"{homes}/*",))
        or (call.is_change and is_below(path, OF_USERS) and not path.startswith(tuple(f"{place}/" for place in ours)))
        for path in paths
        if not path.startswith(fine)
    )


def test_the_rule_finds_what_it_is_for() -> None:
    lines = [
        '7 openat(AT_FDCWD</>, "/var/spool/gflow/jobs/1/1/u/log", O_RDONLY|O_NOFOLLOW) = 5',
        '7 openat(AT_FDCWD</>, "/var/spool/gflow/jobs/1/1/stop.INT", O_WRONLY|O_CREAT, 0600) = 5',
        "7 clone(child_stack=NULL <unfinished ...>",
        "8 setresuid(60001, 60001, 60001) = 0",
        "8 vfork( <unfinished ...>",
        '9 openat(AT_FDCWD</home/gfa/work>, "out", O_WRONLY|O_CREAT, 0600) = 5',
        "8 <... vfork resumed>) = 9",
        '7 mkdir("/var/spool/gflow/jobs/1/1", 0711) = 0',
        '7 mkdirat(5</var/spool/gflow/jobs/1/1>, "u", 0700) = 0',
        '7 openat(6</var/spool/gflow/jobs/1/1/u>, "./used", O_WRONLY|O_CREAT, 0600) = 7',
        "7 fchown(7</var/spool/gflow/jobs/1/1/u/used>, 60001, 60001) = 0",
        "7 fchown(6</var/spool/gflow/jobs/1/1/u>, 60001, 60001) = 0",
        "7 <... clone resumed>, child_tidptr=0x7f) = 8",
        '8 openat(AT_FDCWD</home/gfa/work>, "out", O_WRONLY|O_CREAT, 0600) = 5',
    ]
    assert wrong(calls(lines), "/home") == []
    late = '7 openat(6</var/spool/gflow/jobs/1/1/u>, "./used", O_WRONLY|O_CREAT, 0600) = 7'
    assert len(wrong(calls([*lines, late]), "/home")) == 1
    for bad in (
        'openat(5</var/spool/gflow/jobs/1/1/u>, "log", O_RDWR) = 6',
        "fchown(5</var/spool/gflow/users/60001/relays/x>, 0, 0) = 0",
        'openat(AT_FDCWD</var/spool/gflow/jobs/1/1>, "u/log", O_WRONLY) = 6', 'stat("/home/gfa/x", 0x7ffe) = -1 ENOENT',
        'connect(5<UNIX-STREAM:[1]>, {sa_family=AF_UNIX, sun_path="/var/spool/gflow/jobs/1/1/u/tmux.sock"}, 110) = 0',
        'rename("/var/spool/gflow/jobs/1/1/u/a", "/x") = 0', 'mkdir("/tmp/x", 0700) = 0',
        "flock(5</var/spool/gflow/jobs/1/1/u/alive>, LOCK_EX) = 0", "fcntl(5</tmp/x>, F_SETLK, {}) = 0",
    ):  # fmt: skip
        assert len(wrong(calls([f"7 {bad}"]), "/home")) == 1, bad


@pytest.mark.skipif(shutil.which("strace") is None, reason="no strace")
def test_root_changes_nothing_where_users_may_write_and_touches_no_home() -> None:
    sooner = {"after": "1s"}
    with new_shared_machine(executor={"grace": 1}, history=sooner, logs={"keep": "1s", "max_size": "64K"}) as machine:
        found = traced(machine)
    assert {call.uid for call in found} >= {0, ACCOUNTS["gfa"]}
    assert [call for call in found if call.uid == ACCOUNTS["gfa"] and "out." in call.text]
    assert [call for call in found if call.uid == 0 and re.search(r'\bexit"', call.text)]
    assert sorted(set(wrong(found, str(machine.homes), fine=(str(machine.programs),)))) == []


def traced(machine: SharedMachine) -> list[Call]:
    """What all processes of a daemon do while jobs of all kinds begin and end."""
    trace = machine.root / "trace"
    machine.start(under=("strace", "-D", "-f", "-y", "-qq", "--seccomp-bpf", "-s", "400", "-e", f"trace={TRACED}",
                         "-e", "signal=none", "-o", str(trace)))  # fmt: skip
    gfa = machine.as_user("gfa")
    gfa.write("job.sh", "#!/bin/sh\nyes | head -c 300000\necho $GFLOW_JOB_ID >>ran\nsleep 0.5\n", 0o700)
    ids = [
        gfa.submit("job.sh"),
        gfa.submit("--executor", "process", "--output", "out.%j", "--error", "err.%j", "job.sh"),
        gfa.submit("--max-retries", "1", "--retry-on", "failure", "--", "sh", "-c", "exit 3"),
        gfa.submit("--time", "1s", "--", "sleep", "1000"),
    ]
    if shutil.which("tmux"):
        ids.append(gfa.submit("--executor", "tmux", "job.sh"))
    cancelled = gfa.submit("--", "sh", "-c", "trap '' INT TERM; sleep 1000 & wait; sleep 1000")
    gfa.until(cancelled, "running")
    gfa.ctl("suspend", str(cancelled))
    gfa.ctl("unsuspend", str(cancelled))
    gfa.ctl("cancel", str(cancelled))
    gfa.wait(*ids, cancelled)
    assert len(gfa.lines("ran")) >= 2
    eventually(lambda: not machine.attempt(ids[0]).exists())  # its directory was not to be kept
    machine.stop()
    return calls(trace.read_text(errors="replace").splitlines())
