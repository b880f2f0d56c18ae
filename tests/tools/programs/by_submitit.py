"""Small programs with submitit, one for each word that it is called with."""

import os
import sys
import time
from pathlib import Path

import submitit
from submitit.core.utils import FailedJobError


def double(number):
    print("doubling", number, flush=True)
    return 2 * number


def fail():
    raise ValueError("as it should")


def rank():
    environment = submitit.JobEnvironment()
    return environment.global_rank, environment.local_rank, environment.num_tasks, environment.num_nodes


class Counter:
    """Counts to five, and is stopped on its way: what it has counted is kept over the requeue."""

    def __init__(self):
        self.count = 0
        self.starts = []

    def __call__(self, place):
        self.starts.append(os.environ.get("SLURM_RESTART_COUNT", "0"))
        while self.count < 5:
            self.count += 1
            with (Path(place) / "counted").open("a") as file:
                file.write(f"{self.count}\n")
            while self.count == 2 and len(self.starts) == 1:  # until it is told to go
                time.sleep(0.05)
        return self.count, self.starts

    def checkpoint(self, place):
        return submitit.helpers.DelayedSubmission(self, place)


def executor(folder="logs", **settings):
    made = submitit.AutoExecutor(folder=folder, cluster="slurm", slurm_max_num_timeout=3)
    made.update_parameters(**{"timeout_min": 5, "mem_gb": 1, "cpus_per_task": 1, **settings})
    return made


def single():
    job = executor(name="single").submit(double, 21)
    result = job.result()
    until(lambda: job.state != "RUNNING", job)
    print(result, job.state, "doubling 21" in job.stdout())


def array():
    jobs = executor(slurm_array_parallelism=2).map_array(double, [1, 2, 3])
    print([job.result() for job in jobs], sorted({job.job_id.split("_")[1] for job in jobs}))


def failing():
    job = executor().submit(fail)
    try:
        job.result()
    except FailedJobError as error:
        until(lambda: job.state != "RUNNING", job)
        print("as it should" in str(error), job.state)


def tasks():
    job = executor(tasks_per_node=2).submit(rank)
    print(sorted(job.results()))


def pattern():
    job = executor(folder="x/%j").submit(double, 4)
    print(job.result(), (Path("x") / job.job_id).is_dir())


def cancelled():
    job = executor().submit(time.sleep, 600)
    until(lambda: job.state == "RUNNING", job)
    job.cancel()
    until(lambda: job.state.startswith("CANCELLED"), job)
    print(job.done(), job.state)


def preempted():
    """submitit's own stand-in for a preemption: TERM, which its jobs bypass, then USR2."""
    interrupted(timeout=False)


def timed_out():
    interrupted(timeout=True)


def interrupted(*, timeout):
    job = executor().submit(Counter(), os.getcwd())
    until(lambda: Path("counted").exists() and Path("counted").read_text() == "1\n2\n", job)
    job._interrupt(timeout=timeout)
    print(job.result(), Path("counted").read_text().split())


def until(look, job):
    deadline = time.monotonic() + 120
    while not look():
        if time.monotonic() > deadline:
            sys.exit(f"never so; the job is {job.state}")
        time.sleep(0.1)
        job.watcher.update()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
