"""What jobs of users leave behind is cut and removed by processes of theirs, whatever they made of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.shared_machine import SharedMachine


@pytest.fixture(scope="module", autouse=True)
def started(machine: SharedMachine) -> Iterator[None]:
    machine.write_config(executor={"grace": 1}, logs={"max_size": "1M", "keep": "30s"}, history={"after": "1s"})
    machine.start()
    yield
    machine.stop()


NEST = """
import os
for number in range(1500):
    os.mkdir("d"); os.chdir("d")
"""


def test_a_log_stays_within_its_limit_and_no_file_of_roots_is_cut_for_it(machine: SharedMachine) -> None:
    gfa = machine.as_user("gfa")
    precious = machine.root / "precious"
    precious.write_bytes(b"x" * 3_000_000)
    text = "yes | head -c 10000000; until [ -e go ]; do sleep 0.05; done"
    flooding = gfa.submit("--executor", "process", "--", "sh", "-c", text)
    eventually((machine.own(flooding) / "log.cut").exists)
    eventually(lambda: (machine.own(flooding) / "log").stat().st_size <= 1_100_000)
    own = machine.own(flooding)
    assert {each.stat().st_uid for each in (own / "log", own / "log.cut")} == {gfa.uid}
    os.link(precious, own / "hard")  # as root: the kernel may forbid it to others
    os.rename(own / "hard", own / "log")
    gfa.sh("touch go")
    gfa.ctl("wait", str(flooding))
    assert precious.stat().st_size == 3_000_000
    assert machine.daemon.poll() is None


def test_what_is_old_is_removed_however_deep_and_links_lead_nowhere(machine: SharedMachine) -> None:
    gfa, gfb = machine.as_user("gfa"), machine.as_user("gfb")
    kept = gfb.home / "kept"
    kept.mkdir()
    (kept / "file").touch()
    nest = gfa.write("nest.py", NEST)
    text = (
        f"cd $0; python3 {nest}; ln -s {kept} link; mkfifo pipe; mkdir -p closed/in; chmod 0 closed; "
        f'cd "$TMPDIR"; python3 {nest}; ln -s {kept} link; chmod 0 .'
    )
    first = gfa.submit("--", "true")
    own = f"/{machine.own(first + 1).relative_to(machine.root)}"
    job = gfa.submit("--", "sh", "-c", text, own)
    assert job == first + 1
    gfb.ctl("submit", "--wait", "--", "true")
    gfa.ctl("wait", str(job))
    assert (machine.own(job) / "link").is_symlink()
    eventually(lambda: not list((machine.root / "var/spool/gflow").glob("gflow-*")))
    eventually(lambda: not list((machine.root / "var/spool/gflow/jobs").iterdir()))
    assert os.listdir(kept) == ["file"]
    eventually(lambda: not machine.of_user("gfa"))
    gfa.ctl("submit", "--wait", "--", "true")
