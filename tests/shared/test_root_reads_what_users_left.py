"""Root looks at jobs whose users have put something else in the place of their files: none of it is opened."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.shared_machine import SharedMachine

WITHIN = 60  # seconds: it starts a Python on a busy machine
FILES = ("log", "log.cut", "progress")
KINDS = {
    "pipe": "mkfifo {0}; {{ echo x >{0} && touch {1}; }} >/dev/null 2>&1 &",
    "directory": "mkdir {0}", "link": "ln -s /etc/shadow {0}", "loop": "ln -s {0} {0}", "device": "ln -s /dev/zero {0}",
}  # fmt: skip
MONITOR = """
import os
from gflowctl.context import Context
from gflowctl.monitor.log_tail import LogTail
from gflowctl.view.views import View
from gflowctl.web.pages import job as page
context = Context(os.environ)
view = View(context, context.store.read())
job = view.job(int(sys.argv[1]))
found = LogTail(context.state, job).read()
print(found and found.lines, page.shown(page.output(view, job), None))
"""


@pytest.fixture(scope="module")
def started(machine: SharedMachine) -> SharedMachine:
    machine.write_config(executor={"grace": 1})
    machine.start()
    return machine


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_plain_file_is_not_opened_and_shown_by_no_command(
    started: SharedMachine, kind: str, file: str
) -> None:
    gfa, root = started.as_user("gfa"), started.as_user("root")
    job = gfa.submit(
        "--executor", "process", "--cpus", "0", "--wait", "--", "sh", "-c", "echo said; exit 1", check=False
    )
    running = gfa.submit("--executor", "process", "--cpus", "0", "--", "sleep", "1000")
    gfa.until(running, "running")
    opened = gfa.work / "opened"
    for each in (job, running):
        path = f"/{started.own(each).relative_to(started.root)}/{file}"
        assert gfa.sh(f"rm -f {path}; {KINDS[kind].format(path, opened)}").returncode == 0
        for asked in (
            ("log", str(each)), ("log", "--first", "1", str(each)), ("show", str(each)), ("show", "--json", str(each)),
            ("queue", "-a", "-f", "JOBID,PROGRESS"), ("backup", "--force", str(root.home / "backup")),
        ):  # fmt: skip
            done = root.run(str(root.bin / "gflowctl"), *asked, timeout=WITHIN)
            assert "root:" not in done.stdout, asked
            if asked[0] != "log" or file != "log":
                assert done.returncode == 0, done
        assert "root:" not in root.python(MONITOR, str(each), timeout=WITHIN).stdout
    assert not opened.exists(), "who would write to a pipe is told when it is opened"
    gfa.ctl("cancel", str(running))
    gfa.wait(running)
    for pid, process in started.of_user("gfa").items():
        if process.words.startswith("sh -c rm -f"):
            os.kill(pid, signal.SIGKILL)


LEASE = """
import fcntl, signal
signal.signal(signal.SIGIO, signal.SIG_IGN)
fd = os.open(sys.argv[1], os.O_RDONLY)
fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print("leased", flush=True)
sys.stdin.read()
"""


def test_root_waits_for_no_lease_on_what_was_submitted(started: SharedMachine) -> None:
    gfa, root = started.as_user("gfa"), started.as_user("root")
    script = gfa.write("s.sh", "#!/bin/sh\ntrue\n", 0o755)
    job = gfa.submit("--hold", str(script))
    (found,) = json.loads(gfa.ctl("show", "--json", str(job)).stdout)
    shown, env = found["script"], found["environment"]
    for path, words in ((shown, ("show", "--script")), (env, ("show", "--env"))):
        text = f"import os, sys\n{LEASE}"
        holder = gfa.begin_program(sys.executable, "-c", text, path, stdin=subprocess.PIPE)
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"leased\n"
        try:
            done = root.run(str(root.bin / "gflowctl"), *words, str(job), timeout=20)
            assert "is leased" in done.stderr, done
        finally:
            holder.communicate()
    gfa.ctl("cancel", str(job))
