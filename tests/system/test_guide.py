"""The guide and the examples of submit(1) and of arrays are true: what a reader would paste is run, and does what the
page says.

Heavy programs (`python train.py`, torchrun) are small stand-ins on the PATH; everything else is real.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import sys
import time
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support import depth, pages
from support.machine import GATE, ROOT, Machine, new_machine
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Task = Callable[..., None]

MAN = ROOT / "man"
GUIDE = pages.tasks((ROOT / "docs" / "guide.md").read_text())
CONFIG = {"scheduler": {"cpus": 64}, "executor": {"type": "process"}, "gpu": {"simulate": "16x24G"}}
STAND_INS = {
    "python": f'exec {sys.executable} -E -s -S "$@"',
    "torchrun": 'for gpu in $(echo $CUDA_VISIBLE_DEVICES | tr , " "); do echo "$gpu: $*"; done',
    "jupyter": 'echo "http://localhost:8888/$1?token=abc"; exec sleep 1000',
    "ssh": 'echo "$@"',
}
FILES = {
    "backup.sh": "#!/bin/sh\n",
    "train.py": "import sys; print(*sys.argv[1:])",
    "part.sh": "#!/bin/sh\necho part $GFLOW_ARRAY_TASK_ID",
    "train.sbatch": '#!/bin/sh\n#SBATCH --time=5\necho "$@"',
    "grid.csv": "lr,layers\n0.1,2\n0.01,4\n",
    "jobs.jsonl": '{"command": ["python", "train.py"], "gpus": 1}\n',
    "Makefile": "dataset:\n\ttrue\n",
}
# A model whose third epoch lasts until the warning, so that no clock decides what is seen.
MODEL = """
import json, sys, time
def load(path):
    try:
        state = json.load(open(path))
        print("loaded after", state["epoch"], flush=True)
        return state
    except FileNotFoundError:
        return {"epoch": 0}
def save(state, path):
    json.dump(state, open(path, "w"))
    print("saved after", state["epoch"], flush=True)
def train_epoch(state):
    state["epoch"] += 1
    print("epoch", state["epoch"], flush=True)
    while state["epoch"] == 3 and not sys.modules["__main__"].warned:
        time.sleep(0.01)
"""
LOSS = """
def train(lr, width, seed, epochs):
    return abs(lr - 0.01) + abs(width - 256) / 1000 + seed / 1e6
"""


class Reader(Machine):
    """A machine as the documents assume it: many GPUs and cores, the programs that they call, and a shell."""

    def prepare(self) -> None:
        for name, text in STAND_INS.items():
            (self.bin / name).write_text(f"#!/bin/sh\n{text}\n")
            (self.bin / name).chmod(0o755)
        (self.home / ".local").mkdir()
        (self.home / ".local" / "bin").symlink_to(self.bin)
        self.write_config(**CONFIG)

    def types(self, text: str) -> str:
        """What a reader sees who types or pastes that."""
        done = self.run("sh", "-c", text)
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout

    def types_submission(self, text: str) -> int:
        """Types what submits one job or array last; its first id."""
        return int(re.findall(r"Submitted batch jobs? (\d+)", self.types(text))[-1])

    def cron(self, program: str) -> None:
        """Runs the line of the guide's crontab that calls `program`, as cron would."""
        (table,) = (block.text for block in GUIDE["Every night"] if block.language == "crontab")
        (line,) = (line for line in table.splitlines() if f"/{program} " in line)
        command = line.split(maxsplit=1 if line.startswith("@") else 5)[-1]
        ours = {name: text for name, text in self.env.items() if name.startswith("GFLOW_")}
        env = {"PATH": "/usr/bin:/bin", "HOME": str(self.home), "SHELL": "/bin/sh", "LOGNAME": "reader", **ours}
        done = self.run("sh", "-c", command, env=env, cwd=self.home)
        assert done.returncode == 0, done

    def knows_its_configuration(self) -> bool:
        """Whether the daemon has read the file as it is now: `reload` only tells it to."""
        seen = json.loads(Path(self.state.observed).read_bytes())
        found: int = seen["config"]["mtime_ns"]
        return found == self.config_file.stat().st_mtime_ns

    def logged(self, number: int, attempt: int = 1) -> str:
        path = self.attempt(number).parent / str(attempt) / "log"
        return path.read_text() if path.exists() else ""


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    with new_machine(Reader) as found:
        found.prepare()
        found.cron("gflowd")
        yield found


def test_the_session_about_arrays_and_sweeps_is_true(reader: Reader) -> None:
    page = (MAN / "gflow.7").read_text()
    with reader.visit():
        for block in pages.examples(pages.section(page, ".SS Arrays and sweeps")):
            for command, expected in pages.steps(block):
                assert reader.types(command).strip() == expected, command


def test_every_example_of_submit_runs(reader: Reader) -> None:
    earlier = reader.jobs().keys()
    with reader.visit():
        for name, text in FILES.items():
            (reader.work / name).write_text(text)
        for block in pages.examples((MAN / "gflowctl-submit.inc").read_text()):
            for command, _ in pages.steps(block):
                reader.types(command)
        jobs = reader.jobs()
        ids = sorted(jobs.keys() - earlier)
        tonight = [number for number in ids if jobs[number]["begin_at"]]
        reader.cancel(*tonight)
        reader.ctl("wait", f"{ids[0]}-{ids[-1]}", check=False)
        jobs = reader.jobs()
        assert [number for number in ids if jobs[number]["state"] != "finished"] == tonight
        elements = [number for number in ids if jobs[number]["array_id"]]
        said = sorted((reader.attempt(number) / "log").read_text().strip() for number in elements)
    parts = [f"part {index}" for index in range(1, 21)]
    grid = [f"--lr {lr} --seed {seed}" for lr in (0.1, 0.01) for seed in (1, 2, 3)]
    assert said == sorted([*parts, *grid, "--lr 0.1 --layers 2", "--lr 0.01 --layers 4"])


def sections(settings: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Settings by the names of their tables, e.g. `quota.default_project`."""
    found: dict[str, dict[str, Any]] = {}
    for table, values in settings.items():
        for key, value in values.items():
            if isinstance(value, dict):
                found[f"{table}.{key}"] = value
            else:
                found.setdefault(table, {})[key] = value
    return found


TASKS: dict[str, Task] = {}


def of(title: str) -> Callable[[Task], Task]:
    """Makes a function the test of that section."""

    def note(task: Task) -> Task:
        TASKS[title] = task
        return task

    return note


@of("A training run that outlives its time limit")
def training(reader: Reader, submit: str, warn: str, again: str) -> None:
    (reader.work / "model.py").write_text(MODEL)
    number = reader.types_submission(submit)
    reader.until(number, "running")  # else nobody would send it a signal
    eventually(lambda: "epoch 3" in reader.logged(number))
    logs = reader.types(warn)
    assert logs.index("epoch 3\nsaved after 3\n") < logs.index("loaded after 3\nepoch 4\n")
    job = reader.job(number)
    assert (job["state"], job["attempt"], job["time_limit"]) == ("finished", 2, 4 * 3600)
    reader.types(again)
    assert reader.wait(number) == 0
    assert reader.logged(number, 3) == "loaded after 90\n"


@of("Several GPUs with torchrun")
def several_gpus(reader: Reader, submit: str) -> None:
    number = reader.types_submission(submit)
    assert reader.wait(number) == 0
    words = "--standalone --nproc-per-node=gpu train.py"
    assert reader.logged(number) == "".join(f"{gpu}: {words}\n" for gpu in reader.job(number)["gpu_ids"])
    assert len(reader.job(number)["gpu_ids"]) == 2


@of("A sweep of 200, eight at a time")
def sweep(reader: Reader, submit: str, redo: str) -> None:
    (reader.work / "model.py").write_text(LOSS)
    seeds = depth.number(10, 3)
    first = reader.types_submission(submit.replace("seed=1:10", f"seed=1:{seeds}"))
    reader.types(redo)
    jobs = reader.jobs()
    new = [job for job in jobs.values() if job["redone_from"]]
    old = [job for job in jobs.values() if job["array_id"] == first]
    assert reader.wait(*(job["id"] for job in new)) == 0
    assert "seed=1:10" in submit
    assert len(old) == 20 * seeds
    assert {job["state"] for job in old} == {"finished"}
    assert max(sum(a["started_at"] <= b["started_at"] < a["ended_at"] for a in old) for b in old) <= 8
    assert sorted(tuple(job["params"].values()) for job in new) == [("0.01", "256", str(n), "90") for n in (1, 2, 3)]
    assert {(job["name"], job["time_limit"]) for job in new} == {("best", 12 * 3600)}
    assert sum(line.endswith(" 90") for line in reader.lines("results.txt")) == 3


@of("A pipeline")
def pipeline(reader: Reader, submit: str, redo: str) -> None:
    (reader.work / "Makefile").write_text("data: raw\n\ttouch data\nreport: fit\n\ttouch report\n")
    (reader.work / "fit.py").write_text("open('data'); open('fit', 'w')")
    (reader.work / "scratch").mkdir()
    before = reader.jobs().keys()
    reader.types(submit)
    data, train, report, tidy = sorted(reader.jobs().keys() - before)
    reader.until_in([data, train, report, tidy], "failed", "cancelled", "finished")
    jobs = reader.jobs()
    assert [jobs[n]["state"] for n in (data, train, report, tidy)] == ["failed", "cancelled", "cancelled", "finished"]
    assert not (reader.work / "scratch").exists()
    (reader.work / "raw").touch()
    reader.types(f"data={data}\n{redo}")
    assert reader.wait(*range(tidy + 1, tidy + 4)) == 0
    assert [reader.job(tidy + n)["redone_from"] for n in (1, 2, 3)] == [data, train, report]
    assert (reader.work / "report").exists()


@of("A notebook with a GPU")
def notebook(reader: Reader, submit: str, look: str, forward: str, end: str) -> None:
    number = reader.types_submission(submit)
    eventually(lambda: reader.logged(number))
    assert reader.types(look) == "http://localhost:8888/lab?token=abc\n"
    assert reader.types(forward) == "-N -L 8888:localhost:8888 gpubox\n"
    assert len(reader.job(number)["gpu_ids"]) == 1
    reader.types(end)
    assert reader.ended(number)["state"] == "cancelled"


@of("How far a job is")
def progress(reader: Reader, submit: str) -> None:
    program = reader.work / "train-epoch"
    program.write_text(f"#!/bin/sh\n[ $1 != 5 ] || {{ {GATE}; }}\n")
    program.chmod(0o755)
    submit, _, look = submit.partition("\n")
    number = reader.types_submission(submit)
    eventually(lambda: reader.job(number)["progress"] == 0.4)
    reader.until(number, "running")  # it may have been quicker than who looks whether it has begun
    table, _, shown = reader.types(look).partition("Job:")
    assert re.search(rf"(?m)^ *{number} +loop +R +\S+ +40% epoch 4 of 10 +(~20|N/A)", table)  # no end if overdue
    assert re.search(r"(?m)^Progress: +40%, epoch 4 of 10 \(reported 0:\d\d ago\)$", shown)
    reader.open_gate()
    assert reader.wait(number) == 0
    assert re.search(r"(?m)^Progress: +100%, epoch 10 of 10 \(its last report\)$", reader.types(look))


@of("Small jobs that share a GPU")
def small_jobs(reader: Reader, submit: str) -> None:
    (reader.work / "small.py").write_text(f"import os; os.system({GATE!r})")
    first = reader.types_submission(submit)
    ids = range(first, first + 6)
    reader.until_in([*ids], "running")
    assert len({tuple(reader.jobs()[number]["gpu_ids"]) for number in ids}) == 1
    reader.open_gate()
    assert reader.wait(first) == 0


@of("A class of thirty")
def course(reader: Reader, reload: str, submit: str, follow: str, reserve: str) -> None:
    (reader.work / "exercise.py").write_text(f"import os; os.system({GATE!r})")
    reader.types(reload)
    for project in ([], ["--project", "dan"]):
        assert "project" in reader.refused(1, "submit", *project, "--", "python", "exercise.py")
    second = reader.types_submission(submit)
    eventually(lambda: reader.job(second)["reason"] == "Quota")
    reader.open_gate()
    assert reader.wait(second - 1, second) == 0
    shown = reader.types(follow)
    assert re.search(r"(?m)^project ben  .* 2 ", shown)
    assert re.search(r"(?m)^ada +2 +2 ", shown)
    lecturer = next(user.pw_name for user in pwd.getpwall() if user.pw_uid != os.getuid())
    assert "GPU 0" in reader.types(reserve.replace("grace", lecturer))
    (made,) = json.loads(reader.ctl("reserve", "list", "--json").stdout)
    assert (made["user"], made["gpu_list"], made["repeat"], made["duration"]) == (lecturer, [0, 1], "weekly", 7200)
    reader.ctl("reserve", "cancel", str(made["id"]))


@of("Every night")
def every_night(reader: Reader, submit: str, end: str) -> None:
    project = reader.home / "project"
    (project / "venv" / "bin").mkdir(parents=True)
    (project / "venv" / "bin" / "activate").write_text(f"PATH={reader.bin}:$PATH")
    (project / "evaluate.py").write_text(f"import os; os.system({GATE!r}); print('evaluated')")
    (reader.work / "nightly.sh").rename(project / "nightly.sh")
    # Where it is noon: at 02:00 the first run would begin.
    series = reader.types_submission(f"export TZ=Etc/GMT{time.gmtime().tm_hour - 12:+}\n{submit}")
    job = reader.job(series)
    assert (job["state"], job["cwd"], job["repeat"]["rule"]) == ("queued", str(project), "daily 02:00")
    reader.types(end)
    assert reader.ended(series)["state"] == "cancelled"
    reader.cron("gflowctl")
    reader.cron("gflowctl")
    tonight = max(reader.jobs())
    eventually(lambda: reader.job(tonight)["reason"] == "Dependency")
    reader.until(tonight - 1, "running")
    (project / "gate").touch()
    assert reader.wait(tonight - 1, tonight) == 0
    assert reader.logged(tonight) == "evaluated\n"


def test_every_section_of_the_guide_is_run() -> None:
    assert list(TASKS) == list(GUIDE)


@pytest.mark.parametrize("title", TASKS)
def test_what_the_guide_says_is_true(reader: Reader, title: str) -> None:
    commands = []
    reader.config = {}
    reader.write_config(**CONFIG)
    with reader.visit():
        for block in GUIDE[title]:
            if block.name is not None:
                (reader.work / block.name).write_text(block.text)
            elif block.language == "toml":
                reader.write_config(**sections(tomllib.loads(block.text)))
            elif block.language == "sh":
                commands.append(block.text)
        reader.gflowd("reload")
        eventually(reader.knows_its_configuration)
        TASKS[title](reader, *commands)
