"""Real programs with real output: logs are complete to the last byte, also when the job ends right after a burst."""

from __future__ import annotations

import sys
from pathlib import Path

from support.machine import ROOT, Machine

EXAMPLES = ROOT / "examples"
BURST = 10 * 16384  # lines of 64 bytes: 10 MB


def test_a_training_run_with_the_submitters_virtual_environment(either: Machine) -> None:
    venv = Path(sys.executable).parent
    env = {**either.env, "PATH": f"{venv}:{either.env['PATH']}", "VIRTUAL_ENV": str(venv.parent)}
    job_id = either.submit("--", "python", str(EXAMPLES / "train.py"), "--epochs", "4", "--out", "model.json", env=env)
    assert either.wait(job_id) == 0
    lines = either.log(job_id).decode().splitlines()
    assert lines[0].startswith(f"training on 400 points, python {sys.version.split()[0]}, CUDA_VISIBLE_DEVICES=")
    assert [line.split()[1] for line in lines[1:5]] == ["1/4", "2/4", "3/4", "4/4"]
    assert lines[-1] == "model written to model.json"
    assert (either.work / "model.json").read_text().startswith('{"first"')


def test_a_burst_of_ten_megabytes_right_before_the_end(either: Machine) -> None:
    """Three of them under load, and each log has every line."""
    load = either.submit_all("--", "sh", "-c", "while [ ! -e gate ]; do :; done", count=2)
    ids = either.submit_all(str(EXAMPLES / "pipeline.sh"), count=3)
    assert either.wait(*ids) == 0
    either.open_gate()
    either.wait(*load)
    for job_id in ids:
        text = either.log(job_id).decode()
        assert "naïve façade, Größe, 東京, Ελληνικά, 🙂\n" in text
        assert "divisible by 7, of 1000: 142\n" in text
        numbers = [line[:12] for line in text.splitlines() if line[:12].isdigit()]
        assert numbers == [f"{number:012}" for number in range(1, BURST + 1)]
        assert text.endswith("TUVWX\n")


def test_the_last_words_are_never_lost(either: Machine) -> None:
    ids = either.submit_all("--", "sh", "-c", "echo begin $GFLOW_JOB_ID; seq 1 500; printf 'last word'", count=40)
    assert either.wait(*ids) == 0
    wanted = "".join(f"{n}\n" for n in range(1, 501))
    for job_id in ids:
        log = either.attempt(job_id) / "log"
        assert log.read_bytes().replace(b"\r\n", b"\n").decode() == f"begin {job_id}\n{wanted}last word"


def test_who_reads_the_log_at_the_very_end_reads_all_of_it(either: Machine) -> None:
    """The moment at which a job has ended is the moment at which its log is complete."""
    follow = "gflowctl submit --follow --parsable -- sh -c 'seq 1 3000; printf last' >followed.@"
    done = either.run("sh", "-c", f'seq 24 | xargs -P 6 -I @ sh -c "{follow}"')
    assert done.returncode == 0, done
    wanted = [*map(str, range(1, 3001)), "last"]
    for n in range(1, 25):
        assert either.lines(f"followed.{n}")[1:] == wanted


def test_bytes_that_are_no_text_are_kept(either: Machine) -> None:
    job_id = either.submit("--", sys.executable, "-c", "import os; os.write(1, bytes(range(128, 256)) * 100 + b'end')")
    assert either.wait(job_id) == 0
    assert either.log(job_id) == bytes(range(128, 256)) * 100 + b"end"
