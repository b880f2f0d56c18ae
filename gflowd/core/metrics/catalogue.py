"""Every metric by its name: what it is, in which unit, and by what it is told apart. docs/metrics.md has this table.

Units are base units: seconds, bytes, a ratio of 0 to 1. Names of users and jobs are in metrics of their own, which are
given only where that is asked for.
"""

from __future__ import annotations

from typing import NamedTuple

GAUGE, COUNTER, HISTOGRAM, INFO = "gauge", "counter", "histogram", "info"
NOBODY, USERS, JOBS = NAMES = ("none", "users", "jobs")  # whose names are given; each includes the one before


class Metric(NamedTuple):
    """One family. The name of a counter lacks `_total`, that of an info `_info`, which its samples have."""

    name: str
    kind: str
    unit: str
    about: str
    labels: tuple[str, ...] = ()
    names: str = NOBODY  # with which names it is given

    @property
    def sample(self) -> str:
        """The name of its samples; of a histogram, what these begin with."""
        return self.name + {COUNTER: "_total", INFO: "_info"}.get(self.kind, "")


# fmt: off
METRICS = (
    Metric("gflow_up", GAUGE, "", "Whether the daemon runs: 1 or 0."),
    Metric("gflow_build", INFO, "", "The version of the running daemon.", ("version",)),
    Metric("gflow_start_timestamp_seconds", GAUGE, "seconds", "When the daemon started, since the epoch."),
    Metric("gflow_worker_up", GAUGE, "", "Whether a process of the daemon runs: 1 or 0.", ("worker",)),
    Metric("gflow_worker_heartbeat_timestamp_seconds", GAUGE, "seconds",
           "When a process of the daemon last sent a heartbeat, since the epoch.", ("worker",)),
    Metric("gflow_worker_restarts", COUNTER, "", "How often a process of the daemon was started again after a crash.",
           ("worker",)),
    Metric("gflow_trouble", GAUGE, "",
           "Whether a part of the daemon is kept from its work: 1 or 0. gflowd status tells the cause.", ("part",)),
    Metric("gflow_observed_timestamp_seconds", GAUGE, "seconds",
           "When the daemon last wrote down what it sees, since the epoch. Durations and GPUs are as of then."),
    Metric("gflow_decision_seconds", HISTOGRAM, "seconds", "How long each decision on all jobs took, with its commit."),
    Metric("gflow_commit_seconds", HISTOGRAM, "seconds",
           "How long each commit of the scheduler to the snapshot took, with the wait for its lock."),
    Metric("gflow_sync_seconds", HISTOGRAM, "seconds", "How long each commit took to reach the disk (fdatasync)."),
    Metric("gflow_snapshot_size_bytes", GAUGE, "bytes", "The size of the snapshot of the queue."),
    Metric("gflow_history_size_bytes", GAUGE, "bytes", "The size of the history of ended jobs."),
    Metric("gflow_jobs", GAUGE, "", "Jobs that have not ended, by state.", ("state",)),
    Metric("gflow_jobs_waiting", GAUGE, "", "Queued and held jobs, by the reason for which they wait.", ("reason",)),
    Metric("gflow_jobs_oldest_timestamp_seconds", GAUGE, "seconds",
           "When the job was submitted that has waited longest of those that may start, since the epoch."),
    Metric("gflow_jobs_submitted", COUNTER, "", "Jobs that were ever submitted."),
    Metric("gflow_attempts_ended", COUNTER, "",
           "Attempts at jobs that ended, by state and reason. A job that is retried has several.", ("state", "reason")),
    Metric("gflow_job_wait_seconds", HISTOGRAM, "seconds",
           "How long jobs waited for their first start since they were submitted, released and due."),
    Metric("gflow_job_run_seconds", HISTOGRAM, "seconds",
           "How long ended attempts ran, without the time for which they were suspended.", ("state",)),
    Metric("gflow_job_gpu_seconds", COUNTER, "seconds",
           "The time for which ended attempts had GPUs, here or on a cluster, times the number of these."),
    Metric("gflow_gpus", GAUGE, "", "GPUs that the daemon sees."),
    Metric("gflow_gpus_allocated", GAUGE, "", "GPUs of this machine that jobs have."),
    Metric("gflow_cpus", GAUGE, "", "CPU slots for jobs."),
    Metric("gflow_cpus_allocated", GAUGE, "", "CPU slots that jobs have."),
    Metric("gflow_memory_bytes", GAUGE, "bytes", "Host memory for jobs."),
    Metric("gflow_memory_allocated_bytes", GAUGE, "bytes", "Host memory that jobs have asked for and been given."),
    Metric("gflow_cluster_jobs", GAUGE, "", "Jobs that a cluster has, by its name and their state.",
           ("cluster", "state")),
    Metric("gflow_cluster_gpus", GAUGE, "", "GPUs that jobs have on a cluster.", ("cluster",)),
    Metric("gflow_gpu", INFO, "", "What a GPU is.", ("gpu", "uuid", "model", "simulated")),
    Metric("gflow_gpu_state", GAUGE, "", "1 for the state that a GPU is in, 0 for each other one.", ("gpu", "state")),
    Metric("gflow_gpu_jobs", GAUGE, "", "Jobs that have a GPU.", ("gpu",)),
    Metric("gflow_gpu_utilization_ratio", GAUGE, "ratio",
           "How busy a GPU was when it was last polled. This is load, not allocation.", ("gpu",)),
    Metric("gflow_gpu_memory_bytes", GAUGE, "bytes", "The memory of a GPU.", ("gpu",)),
    Metric("gflow_gpu_memory_used_bytes", GAUGE, "bytes", "The memory of a GPU in use, by whomever.", ("gpu",)),
    Metric("gflow_gpu_temperature_celsius", GAUGE, "celsius", "The temperature of a GPU.", ("gpu",)),
    Metric("gflow_gpu_memory_errors", COUNTER, "",
           "Uncorrectable errors of a GPU's memory since its driver was loaded.", ("gpu",)),
    Metric("gflow_user_jobs", GAUGE, "", "Jobs that have not ended, by user, project and state.",
           ("user", "project", "state"), USERS),
    Metric("gflow_user_gpus", GAUGE, "",
           "GPUs that the jobs of a user have, also on clusters; a shared one counts for each of these.",
           ("user", "project"), USERS),
    Metric("gflow_user_attempts_ended", COUNTER, "", "Attempts at jobs that ended, by user, project and state.",
           ("user", "project", "state"), USERS),
    Metric("gflow_user_gpu_seconds", COUNTER, "seconds",
           "The time for which ended attempts had GPUs, times the number of these, by user and project.",
           ("user", "project"), USERS),
    Metric("gflow_job", INFO, "", "A job that has its resources.", ("job", "name", "user", "project", "state"), JOBS),
    Metric("gflow_job_gpus", GAUGE, "", "GPUs that a job has, here or on a cluster.", ("job",), JOBS),
    Metric("gflow_job_start_timestamp_seconds", GAUGE, "seconds", "When a job began, since the epoch.", ("job",), JOBS),
)
# fmt: on
BY_NAME = {metric.name: metric for metric in METRICS}


def given(names: str) -> tuple[Metric, ...]:
    """The metrics that are given with the names of `NAMES` up to `names`."""
    return tuple(metric for metric in METRICS if NAMES.index(metric.names) <= NAMES.index(names))
