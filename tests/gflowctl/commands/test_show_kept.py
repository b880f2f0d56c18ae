"""What `show` tells of what was kept at submission: the commit, the environment, the script."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from gflowd.core.job import codec
from gflowd.core.job.model import GitState

if TYPE_CHECKING:
    from pathlib import Path

    from support.ctl import Ctl

with_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def commit(place: Path) -> str:
    """A new repository with one commit, and its name."""
    place.mkdir(parents=True)
    (place / "train.py").write_text("print()\n")
    author = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    env = {"PATH": "/usr/bin:/bin", "HOME": str(place), "GIT_CONFIG_GLOBAL": "/dev/null"}
    for words in (("init", "-q", "-b", "main"), ("add", "."), (*author, "commit", "-qm", "one")):
        subprocess.run(["git", *words], cwd=place, env=env, check=True)
    made = subprocess.run(["git", "rev-parse", "HEAD"], cwd=place, env=env, check=True, capture_output=True, text=True)
    return made.stdout.strip()


def shown(ctl: Ctl, *words: str) -> dict[str, str]:
    pairs = (line.split(":", 1) for line in ctl.ok("show", *words).splitlines())
    return {key: text.strip() for key, text in pairs}


def keep(ctl: Ctl, job_id: int, state: GitState) -> None:
    """As if it had been so at submission."""
    with ctl.store.commit() as change:
        change.put("spec", job_id, codec.encode(ctl.spec(job_id).replace(git=state)))


@with_git
def test_the_commit_is_kept_with_a_job_submitted_in_a_work_tree(ctl: Ctl) -> None:
    head = commit(ctl.home / "repo")
    ctl.submit("true")
    ctl.ok("submit", "true", cwd=ctl.home / "repo")
    ctl.submit("--chdir", str(ctl.home / "repo" / ".git" / ".."), "true")
    (ctl.home / "link").symlink_to(ctl.home / "repo")
    ctl.ok("submit", "--chdir", "link", "-a", "1-2", "true")
    assert "Git" not in shown(ctl, "1")
    assert shown(ctl, "2")["Git"].startswith(f"{head} on main")
    for job in ("4", "4_1", "3"):  # whether anything is modified is not known if the machine was too busy to look
        assert shown(ctl, job)["Git"].startswith(f"{head} on main, ")
    kept = [job["git"] for job in ctl.jobs()]
    assert kept[0] is None
    assert [(each["commit"], each["branch"]) for each in kept[1:]] == [(head, "main")] * 4


@with_git
def test_a_job_that_is_redone_is_of_the_commit_of_that_time(ctl: Ctl) -> None:
    head = commit(ctl.home / "repo")
    ctl.submit("--chdir", "repo", "true")
    ctl.end_job(1)
    keep(ctl, 1, GitState(commit="a" * 40, branch="old", dirty=True))
    ctl.archive(1)
    assert shown(ctl, "1")["Git"] == f"{'a' * 40} on old, modified"
    assert ctl.jobs("-c")[0]["git"] == {"commit": "a" * 40, "branch": "old", "dirty": True}
    ctl.ok("redo", "1")
    assert ctl.spec(2).git.commit == head


@with_git
@pytest.mark.parametrize("damage", ["HEAD", "index", "config"])
def test_a_broken_repository_is_no_reason_to_refuse_a_job(ctl: Ctl, damage: str) -> None:
    commit(ctl.home / "repo")
    (ctl.home / "repo/.git" / damage).write_bytes(b"\xff\0\x1b[31m" * 50)
    ctl.submit("--chdir", "repo", "true")
    assert ctl.ok("show", "1").isprintable() is False  # lines, and nothing else
    assert "\x1b" not in ctl.ok("show", "1")


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (GitState(commit="c" * 40, branch="main", dirty=False), f"{'c' * 40} on main, clean"),
        (GitState(commit="c" * 40, dirty=True), f"{'c' * 40}, detached, modified"),
        (GitState(commit="c" * 40, branch="a\x1bb"), f"{'c' * 40} on a\\x1bb, not known whether modified"),
        (GitState(branch="main", dirty=False), "main, without a commit, clean"),
        (GitState(), "a work tree whose commit is not known"),
    ],
)
def test_it_is_told_in_words(ctl: Ctl, state: GitState, words: str) -> None:
    ctl.submit("true")
    keep(ctl, 1, state)
    assert shown(ctl, "1")["Git"] == words


def test_the_environment_is_shown_without_what_is_secret(ctl: Ctl) -> None:
    secret = {
        "WANDB_API_KEY": "hunter1", "HF_TOKEN": "hunter2", "pgpassword": "hunter3", "AWS_SECRET_ACCESS_KEY": "hunter4",
        "MYSQL_PWD": "hunter5", "DB_PASS": "hunter6", "BASIC_AUTH": "hunter7", "GITHUB_PAT": "hunter8",
        "SSH_PASSPHRASE": "hunter9",
    }  # fmt: skip
    plain = {"KEYBOARD": "us", "PWD": str(ctl.home), "TOKENIZERS_PARALLELISM": "false", "LINES2": "a\nb\x1b[31m"}
    urls = {"https_proxy": "http://me:hunter10@proxy:3128/", "DSN": "x postgres://u:hunter11@db/a"}
    ctl.ok("submit", "true", env={**ctl.env, **secret, **plain, **urls})
    found = ctl.ok("show", "--env", "1")
    assert "hunter" not in found
    assert "HF_TOKEN=********\n" in found
    assert "KEYBOARD=us\n" in found
    assert "TOKENIZERS_PARALLELISM=false\n" in found
    assert f"PWD={ctl.home}\n" in found
    assert "LINES2=a\\nb\\x1b[31m\n" in found
    assert "https_proxy=http://me:********@proxy:3128/\n" in found
    assert "DSN=x postgres://u:********@db/a\n" in found
    everything = ctl.ok("show", "--env", "--unmask", "1")
    assert all(f"{name}={value}\n" in everything for name, value in {**secret, **urls}.items())
    document = json.loads(ctl.ok("show", "--env", "--json", "1"))[0]
    assert document["env"]["HF_TOKEN"] == "********"
    assert document["env"]["KEYBOARD"] == "us"
    assert json.loads(ctl.ok("show", "--env", "--unmask", "--json", "1"))[0]["env"]["HF_TOKEN"] == "hunter2"
    assert "env" not in json.loads(ctl.ok("show", "--json", "1"))[0]


def test_several_environments_are_told_apart(ctl: Ctl) -> None:
    ctl.ok("submit", "--export", "A=1", "true")
    ctl.ok("submit", "--export", "A=2", "-a", "1-2", "true")
    first, second = ctl.ok("show", "--env", "1-2").split("\n\n")
    assert first.startswith("# job 1\n")
    assert second.startswith("# job 2\n")
    assert "A=1\n" in first
    assert "A=2\n" in second


def test_variables_that_are_no_text(ctl: Ctl) -> None:
    ctl.ok("submit", "true", env={**ctl.env, "ODD": b"\xff\xfe".decode(errors="surrogateescape")})
    assert "ODD=\\udcff\\udcfe\n" in ctl.ok("show", "--env", "1")
    assert json.loads(ctl.ok("show", "--env", "--json", "1"))[0]["env"]["ODD"] == "\\xff\\xfe"


def test_an_environment_that_is_gone_is_told(ctl: Ctl) -> None:
    ctl.submit("true")
    shutil.rmtree(ctl.state.path("env"))
    assert ctl.fails(1, "show", "--env", "1") == "the environment of job 1 is no longer kept"


def test_the_script_is_shown_as_it_was_also_in_json(ctl: Ctl) -> None:
    (ctl.home / "a.sh").write_text("#!/bin/sh\necho ü\n")
    ctl.submit("a.sh")
    ctl.submit("true")
    (ctl.home / "a.sh").write_text("#!/bin/sh\nexit 1\n")
    assert ctl.ok("show", "--script", "1") == "#!/bin/sh\necho ü\n"
    document = json.loads(ctl.ok("show", "--script", "--json", "1-2"))
    assert [job["script_text"] for job in document] == ["#!/bin/sh\necho ü\n", None]
    assert "script_text" not in json.loads(ctl.ok("show", "--json", "1"))[0]
    said = ctl.fails(1, "show", "--script", "2")
    assert said == "job 2 runs a command, not a script: true"
    shutil.rmtree(ctl.state.path("scripts"))
    assert ctl.fails(1, "show", "--script", "1") == "the script of job 1 is no longer kept"


@pytest.mark.parametrize("words", [("--env", "--script"), ("--unmask",), ("--script", "--unmask")])
def test_options_that_do_not_go_together(ctl: Ctl, words: tuple[str, ...]) -> None:
    ctl.submit("true")
    ctl.fails(2, "show", *words, "1")
