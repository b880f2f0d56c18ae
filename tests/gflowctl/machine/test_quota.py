"""`gflowctl quota`, and the submissions that a quota of queued jobs refuses. No daemon is there."""

from __future__ import annotations

import json
import pwd
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from support.ctl import Ctl

ANOTHER = next(entry.pw_name for entry in pwd.getpwall() if entry.pw_uid == 1)


@pytest.fixture
def me(ctl: Ctl) -> str:
    """Whose the jobs are; job 1 is there."""
    return str(ctl.spec(ctl.submit("true")).user)


def quotas(ctl: Ctl) -> dict[tuple[str, str | None], Any]:
    """`quota list --json`, by kind and name."""
    return {(row["kind"], row["name"]): row for row in json.loads(ctl.ok("quota", "list", "--json"))}


def configure(ctl: Ctl, text: str) -> None:
    path = ctl.home / ".config/gflow/gflow.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_submission_over_a_quota_is_refused_and_leaves_nothing(ctl: Ctl, me: str) -> None:
    assert ctl.ok("quota", "set", "--user", me, "--max-queued-jobs", "2") == (
        f"user {me}: max-running-jobs none, max-running-gpus none, max-queued-jobs 2\n"
    )
    said = f"user {me} has 1 job queued, 2 more would exceed max_queued_jobs = 2 (gflowctl quota list)"
    assert ctl.fails(1, "submit", "--array", "1-2", "true") == said
    assert ctl.fails(1, "submit", "--array", "1-2", "--dry-run", "true") == said
    assert ctl.submit("true") == 2
    said = f"user {me} has 2 jobs queued, another would exceed max_queued_jobs = 2 (gflowctl quota list)"
    assert ctl.fails(1, "submit", "true") == ctl.fails(1, "redo", "1") == said
    assert [job["id"] for job in ctl.jobs()] == [1, 2]


def test_what_counts_as_queued(ctl: Ctl, me: str) -> None:
    ctl.ok("quota", "set", "--user", me, "--max-queued-jobs", "7")
    ctl.submit("--hold", "true")
    ctl.ok("submit", "--array", "1-4", "true")  # 3 to 6
    assert quotas(ctl)["user", me]["queued_jobs"] == 6
    ctl.ok("cancel", "1")
    ctl.run_job(3)
    ctl.end_job(4, exit_code=0)
    found = quotas(ctl)["user", me]
    assert (found["queued_jobs"], found["running_jobs"], found["running_gpus"]) == (3, 1, 0)
    ctl.ok("requeue", "4")
    assert quotas(ctl)["user", me]["queued_jobs"] == 4
    assert ctl.ok("submit", "--parsable", "--array", "1-3", "true") == "7-9\n"
    ctl.fails(1, "submit", "true")


def test_a_project_is_limited_for_all_its_users_together(ctl: Ctl) -> None:
    ctl.ok("quota", "set", "--project", " ml ", "--max-queued-jobs", "1")
    ctl.submit("-P", "ml", "true")
    ctl.submit("true")
    said = ctl.fails(1, "submit", "-P", "ml", "true")
    assert said == "project ml has 1 job queued, another would exceed max_queued_jobs = 1 (gflowctl quota list)"


def test_redoing_several_jobs_counts_them_together(ctl: Ctl, me: str) -> None:
    ctl.submit("true")
    ctl.ok("cancel", "1,2")
    ctl.ok("quota", "set", "--user", me, "--max-queued-jobs", "1")
    ctl.fails(1, "redo", "1,2")
    assert ctl.ok("redo", "--parsable", "1") == "3\n"


def test_the_file_limits_too_and_what_is_set_wins(ctl: Ctl, me: str) -> None:
    configure(ctl, "[quota.default_user]\nmax_queued_jobs = 1\nmax_running_gpus = 4")
    ctl.fails(1, "submit", "true")
    assert quotas(ctl)["user", me]["max_running_gpus"] == 4
    ctl.ok("quota", "set", "--user", me, "--max-queued-jobs", "none")
    ctl.submit("true")
    found = quotas(ctl)
    assert found["user", me]["max_queued_jobs"] is None
    assert found["user", me]["max_running_gpus"] == 4
    assert found["default-user", None]["max_queued_jobs"] == 1
    ctl.ok("quota", "remove", "--user", me)
    ctl.fails(1, "submit", "true")


def test_what_the_daemon_was_configured_with_holds_where_nothing_newer_is_said(ctl: Ctl) -> None:
    ctl.observe(config={"quotas": {"default-user": {"max_queued_jobs": 1}}})
    ctl.submit("true")
    ctl.fails(1, "submit", "true")


def test_setting_one_number_keeps_the_others(ctl: Ctl, me: str) -> None:
    ctl.ok("quota", "set", "--user", me, "--max-running-jobs", "3", "--max-running-gpus", "2")
    said = ctl.ok("quota", "set", "--user", me, "--max-running-jobs", "None")
    assert said == f"user {me}: max-running-jobs none, max-running-gpus 2, max-queued-jobs none\n"
    done = ctl.run("quota", "set", "--user", me, "--max-running-gpus", "2")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith("gflowctl: nothing changes: ")


def test_the_table_has_defaults_then_users_then_projects(ctl: Ctl, me: str) -> None:
    ctl.submit("-P", "ml", "--gpus", "2", "true")
    ctl.run_job(2, gpu_ids=(0, 1))
    ctl.ok("quota", "set", "--default-project", "--max-running-gpus", "8")
    ctl.ok("quota", "set", "--default-user", "--max-queued-jobs", "100")
    ctl.ok("quota", "set", "--user", ANOTHER, "--max-running-jobs", "5")
    rows = [line.split() for line in ctl.ok("quota", "list").splitlines()]
    assert rows[0] == ["WHO", "RUNNING", "MAX", "GPUS", "MAX", "QUEUED", "MAX"]
    assert rows[1:3] == [
        ["default", "user", "-", "-", "-", "-", "-", "100"],
        ["default", "project", "-", "-", "-", "8", "-", "-"],
    ]
    users = [
        ["user", me, "1", "-", "2", "-", "1", "100"],
        ["user", ANOTHER, "0", "5", "0", "-", "0", "100"],
    ]
    assert rows[3:5] == sorted(users)
    assert rows[5:] == [["project", "ml", "1", "-", "2", "8", "0", "-"]]


def test_without_jobs_and_quotas_the_list_is_empty_and_makes_no_state(ctl: Ctl) -> None:
    assert ctl.ok("quota", "list", "--json") == "[]\n"
    assert ctl.ok("quota", "list").split()[0] == "WHO"
    ctl.fails(1, "quota", "set", "--user", "no-such-user", "--max-queued-jobs", "1")
    ctl.fails(1, "quota", "remove", "--default-user")
    assert not (ctl.home.parent / "state").exists()


@pytest.mark.parametrize(
    ("status", "words", "said"),
    [
        (2, [], "the following arguments are required: ACTION"),
        (2, ["frob"], "ACTION: invalid choice: 'frob'"),
        (2, ["set", "--max-queued-jobs", "1"], "one of the arguments --user --project --default-user"),
        (2, ["set", "--user", "root", "--project", "x", "--max-queued-jobs", "1"], "--project: not allowed with"),
        (2, ["set", "--user", "root"], "nothing to set: give --max-running-jobs, --max-running-gpus, --max-queued"),
        (2, ["set", "--user", "root", "--max-queued-jobs", "-1"], "--max-queued-jobs: '-1' is not a number"),
        (2, ["set", "--user", "root", "--max-queued-jobs", "1.5"], "--max-queued-jobs: '1.5' is not a number"),
        (1, ["set", "--user", "no-such-user", "--max-queued-jobs", "1"], "no user 'no-such-user' on this"),
        (1, ["set", "--user", " ", "--max-queued-jobs", "1"], "the name of the user is empty"),
        (1, ["set", "--user", "\udcff", "--max-queued-jobs", "1"], "'\\udcff' is not valid UTF-8"),
        (1, ["set", "--project", "x" * 65, "--max-queued-jobs", "1"], "the project code is longer than 64"),
        (1, ["remove", "--project", "x"], "nothing was set for project x"),
    ],
)
def test_nonsense_is_one_line(ctl: Ctl, status: int, words: list[str], said: str) -> None:
    assert ctl.fails(status, "quota", *words).startswith(said)


def test_a_project_that_no_job_may_name_gets_no_quota(ctl: Ctl) -> None:
    configure(ctl, "[projects]\nknown_projects = ['ml']\nrequire_project = true")
    said = ctl.fails(1, "quota", "set", "--project", "mll", "--max-queued-jobs", "1")
    assert said == "'mll' is not a known project (they are ml)"
    ctl.ok("quota", "set", "--project", "ml", "--max-queued-jobs", "1")


def test_a_user_who_is_gone_but_has_jobs_can_be_limited(ctl: Ctl) -> None:
    ctl.submit("true")
    spec = ctl.store.read().of("spec")[1]
    with ctl.store.commit() as commit:
        commit.put("spec", commit.allocate(), {**spec, "user": "12345"})
    ctl.ok("quota", "set", "--user", "12345", "--max-running-jobs", "1")


def test_common_options_stand_before_or_after_the_action(ctl: Ctl, me: str) -> None:
    ctl.ok("quota", "set", "--user", me, "--max-queued-jobs", "5")
    empty = str(ctl.home / "other")
    for words in (["--state-dir", empty, "quota", "list"], ["quota", "--state-dir", empty, "list"],
                  ["quota", "list", "--state-dir", empty]):  # fmt: skip
        assert me not in ctl.ok(*words)


def test_submissions_at_once_do_not_slip_past_a_quota(ctl: Ctl, me: str) -> None:
    ctl.ok("quota", "set", "--user", me, "--max-queued-jobs", "6")
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: ctl.run("submit", "true").returncode, range(12)))
    assert sorted(done) == [0] * 5 + [1] * 7
    assert len(ctl.jobs()) == 6


def test_a_job_larger_than_its_own_quota_is_refused(ctl: Ctl, me: str) -> None:
    configure(ctl, "[quota.default_user]\nmax_running_gpus = 2\n[quota.projects.ml]\nmax_running_gpus = 1")
    said = f"user {me} may use 2 GPUs at most (max_running_gpus = 2), 3 asked for (gflowctl quota list)"
    for words in (["-g", "3"], ["-g", "3", "--dry-run"], ["-g", "3", "-a", "1-9"], ["-g", "3", "--hold"]):
        assert ctl.fails(1, "submit", *words, "true") == said
    assert ctl.fails(1, "redo", "-g", "3", "1") == said
    assert ctl.fails(1, "update", "-g", "3", "1") == f"job 1: {said}"
    assert ctl.submit("-g", "2", "true") == 2
    said = "project ml may use 1 GPU at most (max_running_gpus = 1), 2 asked for (gflowctl quota list)"
    assert ctl.fails(1, "submit", "-P", "ml", "-g", "2", "true") == said
    ctl.run("quota", "set", "--user", me, "--max-running-gpus", "none", "--max-running-jobs", "0")
    said = f"user {me} may run no job (max_running_jobs = 0) (gflowctl quota list)"
    assert ctl.fails(1, "submit", "true") == said


def test_a_quota_that_makes_jobs_impossible_names_them(ctl: Ctl, me: str) -> None:
    ctl.ok("submit", "-a", "1-3", "-g", "2", "true")  # 2 to 4
    ctl.submit("-g", "2", "true")
    ctl.run_job(5)
    done = ctl.run("quota", "set", "--user", me, "--max-running-gpus", "1")
    assert (done.returncode, done.stderr) == (
        0, "gflowctl: note: jobs 2_[1-3] can never start as things stand: they ask for more than the quota\n",
    )  # fmt: skip
    assert ctl.run("quota", "set", "--user", me, "--max-running-jobs", "9").stderr == ""
    ctl.ok("update", "2", "--comment", "waits")
    ctl.ok("update", "2", "--gpus", "1")
