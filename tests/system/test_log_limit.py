"""Jobs that flood their logs: they run on, the disk stays usable, both ends of the log stay readable."""

from __future__ import annotations

from support.machine import GATE, Machine
from support.waiting import eventually

MIB = 1 << 20
# Never so far ahead of what is in `shown` that a cut could take what nobody has read: a quarter of the limit stays.
FOLLOWED = (
    "i=0; until [ -e gate ]; do seq -f 'line %.0f' $((i + 1)) $((i + 5000)) | cat; i=$((i + 5000)); "
    "until [ -e gate ] || [ $(wc -l <shown) -ge $((i - 5000)) ]; do sleep 0.01; done; done; echo last"
)


def limited(own: Machine) -> Machine:
    own.write_config(logs={"max_size": "1M"})
    own.gflowd("restart")
    return own


def test_a_job_that_fills_its_log_at_full_speed_runs_on_and_its_log_stays_small(own: Machine) -> None:
    """Its children write too; after the flood what it says last is the end of the log."""
    limited(own)
    flood = f"yes aaaaaaaaaaaaaaa & one=$!; yes bbbbbbbbbbbbbbb & {GATE}; kill $one $!; wait"
    job_id = own.submit("--wrap", f"echo first; {flood}; echo; echo last; exit 4")
    log = own.attempt(job_id) / "log"
    cut = own.attempt(job_id) / "log.cut"
    eventually(cut.exists)
    once = cut.read_bytes()
    eventually(lambda: cut.read_bytes() != once)
    assert own.job(job_id)["state"] == "running"
    own.open_gate()
    assert own.wait(job_id) == 4
    eventually(lambda: log.stat().st_size <= MIB)
    shown = own.ctl("log", str(job_id))
    lines = shown.stdout.split("\n")
    assert lines[0] == "first"
    assert lines[-2:] == ["last", ""]
    assert sum("bytes are cut out here; [logs] max_size is 1 MiB]" in line for line in lines) == 1
    assert "bytes were cut out of this log" in shown.stderr
    assert own.ctl("log", "--last", "1", str(job_id)).stdout == "last\n"
    assert own.ctl("log", "--first", "1", str(job_id)).stdout == "first\n"


def test_a_limit_below_a_mebibyte_is_as_exact(own: Machine) -> None:
    own.write_config(logs={"max_size": "100K"})
    own.gflowd("restart")
    job_id = own.submit("--wrap", "echo first; seq 20000; echo last")
    assert own.wait(job_id) == 0
    log = own.attempt(job_id) / "log"
    eventually(lambda: log.stat().st_size <= 100 << 10)
    lines = log.read_text().splitlines()
    assert (lines[0], lines[-1]) == ("first", "last")
    assert sum("[logs] max_size is 100 KiB]" in line for line in lines) == 1


def test_a_log_is_followed_through_its_cuts(own: Machine) -> None:
    limited(own)
    (own.work / "shown").touch()
    job_id = own.submit("--wrap", FOLLOWED)
    own.until(job_id, "running")
    cut = own.attempt(job_id) / "log.cut"
    with (own.work / "shown").open("wb") as shown, own.begin("log", "-f", str(job_id), stdout=shown) as following:
        eventually(cut.exists)
        once = cut.read_bytes()
        eventually(lambda: cut.read_bytes() != once)
        own.open_gate()
        assert following.wait(60) == 0
    lines = own.lines("shown")
    assert lines[0] == "line 1"
    assert lines[-1] == "last"
    numbers = [int(line.split()[1]) for line in lines if line.startswith("line ") and line[5:].isdigit()]
    assert len(numbers) > 0.9 * numbers[-1]


def test_a_file_that_the_user_named_is_never_cut(own: Machine) -> None:
    limited(own)
    job_id = own.submit("-o", "out", "--wrap", "head -c 5000000 /dev/zero; sleep 3")
    assert own.wait(job_id) == 0
    assert (own.work / "out").stat().st_size == 5_000_000


def test_what_a_job_wrote_while_the_daemon_was_away_is_cut_when_it_is_back(own: Machine) -> None:
    limited(own)
    job_id = own.submit("--wrap", f"{GATE}; yes | head -c 5000000; echo; echo last; exit 3")
    own.until(job_id, "running")
    own.stop()
    own.open_gate()
    eventually((own.attempt(job_id) / "exit").exists)
    own.start()
    assert own.wait(job_id) == 3
    eventually(lambda: (own.attempt(job_id) / "log").stat().st_size <= MIB)
    assert own.ctl("log", "--last", "1", str(job_id)).stdout == "last\n"
