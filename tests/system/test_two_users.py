"""Two Unix users with a daemon each on one machine, for which the tests must be root. Neither user has an account."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from support import depth
from support.machine import GATE, ROOT, Machine
from support.nvidia import VARIABLE, Cards
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

ADA, BOB = 64001, 64002
PATHS = [str(ROOT), str(Path(orjson.__file__).parent.parent)]
PYTHONS = [sys.executable, f"/usr/bin/python3.{sys.version_info.minor}", "/usr/bin/python3", "/usr/local/bin/python3"]
NAMES = "import sys; sys.path[:0] = {!r}; import gflowd.main, orjson, filelock, libtmux, psutil, pynvml"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two other users")


def as_user(uid: int) -> dict[str, Any]:
    return {"user": uid, "group": uid, "extra_groups": []}


def interpreter() -> str:
    """A Python like ours that any user may run; ours may be in a home directory. Skips the test where there is none."""
    for python in PYTHONS:
        try:
            words = [python, "-c", NAMES.format(PATHS)]
            if subprocess.run(words, check=False, cwd="/", capture_output=True, **as_user(ADA)).returncode == 0:
                return python
        except OSError:
            continue
    pytest.skip("no Python that other users may run sees gflow")


class OfUser(Machine):
    """The machine as another user has it. Its root is open to others, its state is not."""

    def __init__(self, root: Path, uid: int, python: str) -> None:
        self.uid = uid
        super().__init__(root)
        for program in self.bin.iterdir():
            text = program.read_text().partition("\n")[2].replace(f"0, {str(ROOT)!r}", f"0, {PATHS[1]!r}", 1)
            program.write_text(f"#!{python}\n" + text.replace("\n", f"\nsys.path.insert(0, {PATHS[0]!r})\n", 1))
        for place in (root, *root.rglob("*")):
            os.chown(place, uid, uid)
        root.chmod(0o755)

    def run(self, *words: str | bytes, **settings: Any) -> subprocess.CompletedProcess[str]:
        return super().run(*words, **{**as_user(self.uid), **settings})

    def log(self, job_id: int) -> bytes:
        return self.ctl("log", str(job_id)).stdout.encode()

    def states(self) -> list[str]:
        return [gpu["state"] for gpu in self.status()["gpus"]]


@pytest.fixture
def place() -> Iterator[Path]:
    """Where everybody may look, and in `held` write."""
    found = Path(tempfile.mkdtemp(prefix="gf-", dir="/tmp"))
    found.chmod(0o755)
    (found / "held").mkdir()
    (found / "held").chmod(0o1777)
    yield found
    shutil.rmtree(found)


@pytest.fixture
def cards(place: Path) -> Cards:
    """Two GPUs that both daemons have."""
    return Cards(place / "gpus", 2)


@pytest.fixture
def both(place: Path, cards: Cards, fake_nvml: Path) -> Iterator[tuple[OfUser, OfUser]]:
    """Ada's and Bob's, with their daemons up, which trust each other."""
    with machines(place, cards, fake_nvml, str(ADA), str(BOB)) as made:
        yield made


@pytest.fixture
def strangers(place: Path, cards: Cards, fake_nvml: Path) -> Iterator[tuple[OfUser, OfUser]]:
    """The same, whose configurations do not name each other."""
    with machines(place, cards, fake_nvml) as made:
        yield made


@contextmanager
def machines(place: Path, cards: Cards, fake_nvml: Path, *trusted: str) -> Iterator[tuple[OfUser, OfUser]]:
    python = interpreter()
    library = shutil.copy(fake_nvml, place)
    made = [OfUser(Path(tempfile.mkdtemp(prefix="gf-", dir="/tmp")), uid, python) for uid in (ADA, BOB)]
    try:
        for each in made:
            each.env |= {"LD_LIBRARY_PATH": str(Path(library).parent), VARIABLE: str(cards.file)}
            each.write_config(gpu={"poll_interval": 1, "trust_claims_of": [*trusted]}, executor={"type": "process"})
            each.start()
        for each in made:
            eventually(lambda each=each: each.states() == ["idle", "idle"])  # type: ignore[misc]
        yield made[0], made[1]
    finally:
        for each in made:
            each.close()


def test_neither_is_given_what_the_other_has(both: tuple[OfUser, OfUser], cards: Cards) -> None:
    ada, bob = both
    first = ada.submit("-g", "1", "--wrap", f"echo $CUDA_VISIBLE_DEVICES; {GATE}")
    ada.until(first, "running")
    eventually(lambda: bob.states() == ["unmanaged", "idle"])
    assert "GPU 0 unmanaged: allocated by another gflow daemon" in bob.ctl("info").stdout
    second = bob.submit("-g", "1", "--wrap", f"echo $CUDA_VISIBLE_DEVICES; {GATE}")
    bob.until(second, "running")
    eventually(lambda: ada.states() == ["busy", "unmanaged"])
    third = bob.submit("-g", "2", "true")
    eventually(lambda: bob.job(third)["reason"] in ("Resources", "GpuUnavailable"))
    pid = ada.job(first)["pid"]
    cards.set("a", processes=f"{pid}:500")
    eventually(lambda: f"pid {pid} of {ADA}" in bob.ctl("info").stdout)
    assert ada.states() == ["busy", "unmanaged"], "to ada it is her own job's"
    cards.set("a", processes=None)
    ada.open_gate()
    bob.open_gate()
    assert (ada.wait(first), bob.wait(second, third)) == (0, 0)
    assert (ada.log(first), bob.log(second)) == (b"0\n", b"1\n")
    assert ada.job(first)["user"] == str(ADA), "who has no account is a number"


def test_a_claim_of_a_user_who_is_not_trusted_is_told_and_his_use_counts(
    strangers: tuple[OfUser, OfUser], cards: Cards
) -> None:
    ada, bob = strangers
    first = ada.submit("-g", "1", "--wrap", GATE)
    ada.until(first, "running")
    told = f"claimed by {ADA}, whose claims are not honoured"
    eventually(lambda: f"GPU 0 idle: {told}" in bob.ctl("info").stdout)
    assert f"WARN  GPU 0 is {told}: name the user in gpu.trust_claims_of" in bob.ctl("doctor", check=False).stdout
    pid = ada.job(first)["pid"]
    cards.set("a", processes=f"{pid}:500")
    eventually(lambda: bob.states() == ["unmanaged", "idle"])
    assert f"pid {pid} of {ADA}" in bob.ctl("info").stdout
    assert ada.states() == ["busy", "idle"], "to ada it is her own job's"
    cards.set("a", processes=None)
    ada.open_gate()
    assert ada.wait(first) == 0
    assert bob.daemon_log().count("claim not honoured") == 1


def test_nobody_can_keep_gpus_from_others_by_the_names_of_claims(
    strangers: tuple[OfUser, OfUser], cards: Cards
) -> None:
    ada, bob = strangers
    vandal = (
        "import socket, sys, time; kept = [socket.socket(socket.AF_UNIX) for _ in sys.argv[1:]]; "
        "[(each.bind(chr(0) + 'gflow-' + name), each.listen()) for each, name in zip(kept, sys.argv[1:])]; "
        "print('up', flush=True); time.sleep(600)"
    )
    words = [interpreter(), "-c", vandal, *cards.uuids.values()]
    with subprocess.Popen(words, stdout=subprocess.PIPE, **as_user(BOB)) as squatter:
        try:
            assert squatter.stdout is not None
            squatter.stdout.readline()
            job_id = ada.submit("-g", "2", "--wrap", "echo $CUDA_VISIBLE_DEVICES")
            assert ada.wait(job_id) == 0
            assert ada.log(job_id) == b"0,1\n"
            eventually(lambda: bob.states() == ["unmanaged", "unmanaged"])  # a daemon of his own, for all that he knows
        finally:
            squatter.kill()


def test_no_gpu_is_given_to_both_at_an_instant(both: tuple[OfUser, OfUser], place: Path) -> None:
    """Each job takes a directory per GPU that it was told of, which only one process of the machine can make."""
    text = (
        "IFS=,; for gpu in $CUDA_VISIBLE_DEVICES; do"
        f" mkdir {place}/held/$gpu || echo $gpu twice >>wrong; done; sleep 0.2; echo $GFLOW_JOB_ID >>ran;"
        f"for gpu in $CUDA_VISIBLE_DEVICES; do rmdir {place}/held/$gpu; done"
    )
    ids = [
        [each.submit("-c", "0", "-g", gpus, "--wrap", text) for gpus in ("1", "2", "1", "1", "2", "1")] for each in both
    ]
    for each, mine in zip(both, ids, strict=True):
        assert each.wait(*mine) == 0
        assert each.lines("wrong") == []
        each.ran_exactly_once(mine)


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is not installed")
def test_what_has_become_roots_and_cannot_be_killed_is_told_of_once(both: tuple[OfUser, OfUser], place: Path) -> None:
    ada, _ = both
    rooted = Path(shutil.copy(shutil.which("setpriv") or "", place / "rooted"))
    rooted.chmod(0o4755)
    if os.statvfs(place).f_flag & os.ST_NOSUID:
        pytest.skip("nobody becomes root here")
    text = f"{rooted} --reuid=0 --regid=0 --clear-groups sh -c 'touch {place}/held/up; exec sleep 5' & wait"
    job_id = ada.submit("--grace", "0", "--wrap", text)
    eventually((place / "held" / "up").exists)
    ada.cancel(job_id)
    told = [line for line in ada.daemon_log().splitlines() if f"job={job_id} " in line and "signal=KILL" in line]
    assert 1 <= len(told) <= 4, told
    assert any("may not signal" in line for line in told)


FOREIGN = [
    ("gflowctl", "queue"), ("gflowctl", "submit", "true"), ("gflowctl", "cancel", "1"), ("gflowctl", "cancel", "--all"),
    ("gflowctl", "cancel", "1", "--signal", "KILL"), ("gflowctl", "hold", "1"), ("gflowctl", "update", "1", "-c", "2"),
    ("gflowctl", "redo", "1"), ("gflowctl", "log", "1"), ("gflowctl", "attach", "1"), ("gflowctl", "info"),
    ("gflowctl", "backup", "b"), ("gflowctl", "drain"), ("gflowctl", "resume"), ("gflowctl", "gpus", "drain", "0"),
    ("gflowctl", "limit", "1", "2"), ("gflowctl", "reserve", "list"), ("gflowctl", "quota", "list"),
    ("gflowd", "start"), ("gflowd", "status"), ("gflowd", "stop"), ("gflowd", "reload"),
]  # fmt: skip


def test_a_user_can_neither_read_nor_end_what_is_anothers(both: tuple[OfUser, OfUser]) -> None:
    ada, bob = both
    job_id = ada.submit("-g", "1", "--wrap", GATE)
    ada.until(job_id, "running")
    before = Path(ada.state.snapshot).read_bytes()
    env = {**bob.env, "GFLOW_STATE_DIR": ada.state.root}
    for program, *words in FOREIGN:
        said = bob.refused(1, *words, program=program, env=env)
        assert said == f"{ada.state.root} belongs to user {ADA}, not to you ({BOB})", words
    for pid in (ada.job(job_id)["pid"], *ada.pids().values()):
        assert "not permitted" in bob.run("sh", "-c", f"LC_ALL=C; kill -KILL {pid}").stderr
    assert Path(ada.state.snapshot).read_bytes() == before
    ada.root.chmod(0o700)
    for program, *words in depth.some(FOREIGN, 4):  # a Python each
        assert "Permission denied" in bob.refused(3, *words, program=program, env=env), words
    assert ada.job(job_id)["state"] == "running"
    ada.open_gate()
    assert ada.wait(job_id) == 0


def test_who_has_no_account_reserves_too(both: tuple[OfUser, OfUser]) -> None:
    ada, _ = both
    words = ("reserve", "create", "--gpus", "1", "--start", "now", "--for", "1h", "--json")
    assert json.loads(ada.ctl(*words).stdout)["user"] == str(ADA)
    assert json.loads(ada.ctl(*words, "--user", str(ADA)).stdout)["user"] == str(ADA)
    assert "no user" in ada.refused(1, *words, "--user", str(BOB))
