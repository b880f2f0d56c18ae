"""`gflowctl edit` with scripts as editors."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.ctl import PROGRAM

from gflowd.core.job import dependencies
from gflowd.core.request import update_rules

if TYPE_CHECKING:
    from support.ctl import Ctl

SEEN = "seen"  # a copy of what the editor was given


def edits(ctl: Ctl, body: str) -> None:
    """Makes a shell script the editor, which finds the file as $1."""
    script = ctl.home / "an editor"
    script.write_text(f'#!/bin/sh\ncp "$1" {ctl.home}/{SEEN}\n{body}\n')
    script.chmod(0o700)
    place = ctl.home / "tmp"
    place.mkdir(exist_ok=True)
    ctl.env |= {"EDITOR": f"'{script}'", "TMPDIR": str(place)}


def seen(ctl: Ctl) -> str:
    return (ctl.home / SEEN).read_text()


def left(ctl: Ctl) -> list[Path]:
    """Texts that were not removed."""
    return list((ctl.home / "tmp").glob("*/*"))


def kept(ctl: Ctl, said: str) -> str:
    """The text of the file that an error names, the only one."""
    path = Path(said.rpartition(" ")[2])
    assert left(ctl) == [path]
    assert "nothing is changed" in said
    assert path.stat().st_mode & 0o777 == 0o600
    return path.read_text()


def test_the_text_has_a_line_for_each_option(ctl: Ctl) -> None:
    ctl.submit("-t", "90", "-n", "train", "--comment", "why", "echo", "a b")
    edits(ctl, f'stat -c %a "$1" "$(dirname "$1")" >{ctl.home}/modes')
    done = ctl.run("edit", "1")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "gflowctl: nothing changed\n")
    lines = seen(ctl).splitlines()
    assert lines[0].startswith("# The options of job 1 (train), which is queued")
    named = [match.groups() for line in lines if (match := re.fullmatch(r"(#?)([a-z-]+) =.*", line))]
    assert sorted(name for _, name in named) == sorted(update_rules.names())
    assert [line for line in lines if line and line[0] != "#"] == [
        "gpus = 0", "cpus = 1", "time = 1:30:00", "priority = 10", "name = train", "comment = why",
        "command = echo 'a b'",
    ]  # fmt: skip
    assert max(map(len, lines)) < 80
    assert (ctl.home / "modes").read_text().split() == ["600", "700"]
    assert not left(ctl)


@pytest.mark.parametrize(
    ("line", "field", "value"),
    [
        ("s/^time = .*/time = 2h/", "time_limit", 7200.0),
        ("s/^time = .*/time =/", "time_limit", None),
        ("/^time/d", "time_limit", None),
        ("s/^priority = .*/priority = 99/", "priority", 99),
        ("/^priority/d", "priority", 10),
        ("s/^command = .*/command = echo 'c d'/", "command", ("echo", "c d")),
        ("s/^#append =/append = yes/", "append", True),
        ("s/^shared = .*/shared = no/", "shared", False),
        ("s/^#memory =/mem=2G/", "memory_mb", 2048),
        ("s/^#max-retries =/max-retries = 2\\nrequeue = yes/", "retry.max_retries", 2),
    ],
)
def test_a_changed_line_is_an_option_of_update(ctl: Ctl, line: str, field: str, value: object) -> None:
    ctl.submit("-t", "90", "-p", "5", "--gpu-memory", "1G", "--shared", "true")
    before = ctl.spec(1)
    edits(ctl, f'sed -i "{line}" "$1"')
    assert ctl.ok("edit", "1") == "Updated job 1\n"
    after = ctl.spec(1)
    for name in field.split("."):
        after = getattr(after, name)
    assert after == value
    if "." not in field:
        assert ctl.spec(1) == before.replace(**{field: value})
    assert not left(ctl)


def test_what_is_set_is_read_back_as_it_was(ctl: Ctl) -> None:
    """Every line given to `update` changes nothing."""
    ctl.submit("true")
    ctl.ok("submit", "--array", "1-3", "true")
    ctl.submit("-n", "other", "true")
    (ctl.home / "in").touch()
    ctl.ok(
        "submit",
        *("-g", "2", "--gpu-type", "a100", "--gpu-memory", "1.5T", "--shared", "-c", "3", "-m", "800M", "-t", "1-2:3"),
        *("--gpu-prefer", "2-3,h100", "--grace", "10s", "--signal", "B:USR1@2592", "--quiet-limit", "1h", "-p", "7"),
        *("--begin", "2035-01-01 2:00", "--deadline", "2036-01-01", "-n", "a b", "--comment", "x\n\n  y", "-o", "%j.o"),
        *("-e", "%j.e", "-i", "in", "--append", "--executor", "process", "--conda-env", "/c", "-d", "1,after:2_1+5,2"),
        *("--singleton", "--no-auto-cancel", "--max-retries", "3", "--retry-on", "oom,7", "--retry-delay", "90sx1.5"),
        *("--notify-email", "a@b", "--notify-on", "end,fail", "--array", "1-4%2", "--max-failures", "2"),
        *("--notify", "https://a/b", "--notify", "http://c/d?e=f"),
        *("--", "sh", "-c", "echo 'a\n# b\n\n  c'"),
    )
    before = ctl.spec(6)
    edits(ctl, "sed -i 's/^\\([a-z-]*\\) = \\(.*\\)/\\1 =   \\2  /' \"$1\"")
    assert ctl.run("edit", "6").stderr == "gflowctl: nothing changed\n"
    text = (ctl.home / SEEN).read_text()
    found: dict[str, str] = {}
    for line in text.splitlines():
        if match := re.fullmatch(r"([a-z-]+) = (.*)", line):
            found[last := match[1]] = match[2]
        elif line.startswith("    "):
            found[last] += f"\n{line[4:]}"
    unset = set(update_rules.names()) - set(found)
    assert unset == {"repeat", "overlap", "script", "requeue", "param", "cluster"}
    assert (found.pop("singleton"), found.pop("auto-cancel")) == ("yes", "no")
    assert found["depends-on"] == "afterok:1,after:2_1+5,afterok:2"
    assert {found.pop(name) for name in ("shared", "append")} == {"yes"}
    words = [f"--{name}={value}" for name, value in found.items()]
    done = ctl.run("update", "6", *words, "--shared", "--append", "--singleton", "--no-auto-cancel")
    assert done.stderr == "gflowctl: job 6 already has these values\n"
    assert ctl.spec(6) == before


@pytest.mark.parametrize(
    ("before", "line", "after"),
    [
        ("-d 1 --singleton", "s/^depends-on = .*/depends-on = after:2/", "after:2,singleton"),
        ("-d 1 --singleton", "/^depends-on/d", "singleton"),
        ("-d 1 --singleton", "/^singleton/d", "afterok:1"),
        ("-d 1 --singleton", "/^depends-on/d; s/^singleton = yes/singleton = no/", ""),
        ("-d 1", "s/^#singleton =/singleton = yes/", "afterok:1,singleton"),
        ("-d 1", "s/^depends-on = .*/depends-on = 2/; s/^auto-cancel = yes/auto-cancel = no/", "afterok:2 stays"),
        ("--no-auto-cancel -d 1", "s/^depends-on = .*/depends-on = 2/", "afterok:2 stays"),
        ("--no-auto-cancel -d 1", "/^auto-cancel/d", "afterok:1"),
        ("--no-auto-cancel -d 1", "/^depends-on/d; /^auto-cancel/d", ""),
        ("-d 1?singleton", "s/singleton/2/", "afterok:1?afterok:2"),
        ("--singleton", "/^singleton/d", ""),
    ],
)
def test_dependencies_that_are_left_alone_stay(ctl: Ctl, before: str, line: str, after: str) -> None:
    """An option of update replaces all of them."""
    for words in ([], [], before.split()):
        ctl.submit(*words, "true")
    edits(ctl, f'sed -i "{line}" "$1"')
    ctl.ok("edit", "3")
    needs = ctl.spec(3).needs
    stays = needs is not None and not needs.auto_cancel
    assert ("" if needs is None else dependencies.show(needs)) + (" stays" if stays else "") == after


def test_whom_to_notify_can_be_updated(ctl: Ctl) -> None:
    ctl.submit("true")
    ctl.ok("update", "1", "--notify-email", "a@b", "--notify-on", "end")
    assert (ctl.spec(1).notify_email, ctl.spec(1).notify_on) == ("a@b", ("end",))


def test_a_command_of_several_lines(ctl: Ctl) -> None:
    ctl.submit("--wrap", "for i in 1 2\ndo\n\n  echo $i\ndone")
    edits(ctl, "sed -i 's/echo/# say\\n      printf/; s/[ \\t]*$//' \"$1\"")
    ctl.ok("edit", "1")
    assert ctl.spec(1).command == ("sh", "-c", "for i in 1 2\ndo\n\n  # say\n  printf $i\ndone")


def test_the_arguments_of_a_script(ctl: Ctl) -> None:
    (ctl.home / "job.sh").write_text("#!/bin/sh\n")
    ctl.submit("job.sh", "x")
    before = ctl.spec(1)
    edits(ctl, "sed -i 's/^command = .*/command = job.sh y/' \"$1\"")
    ctl.ok("edit", "1")
    assert ctl.spec(1) == before.replace(command=("job.sh", "y"))
    edits(ctl, "sed -i 's/^command = .*/command = x/; s/^#script =/script = job.sh/' \"$1\"")
    assert "either script or command" in ctl.fails(1, "edit", "1")


def test_spaces_at_ends_of_lines_do_not_count(ctl: Ctl) -> None:
    """Editors remove them."""
    ctl.submit("--comment", " a \n\n b", "true")
    edits(ctl, "sed -i 's/[ \t]*$//' \"$1\"")
    assert ctl.run("edit", "1").stderr == "gflowctl: nothing changed\n"
    assert "comment =  a \n" in seen(ctl)


def test_a_text_without_options_changes_nothing(ctl: Ctl) -> None:
    ctl.submit("-p", "5", "true")
    edits(ctl, ': >"$1"')
    done = ctl.run("edit", "1", "--json")
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "gflowctl: nothing changed\n")
    assert ctl.spec(1).priority == 5


def test_all_changes_or_none(ctl: Ctl) -> None:
    ctl.submit("-t", "90", "true")
    before = ctl.spec(1)
    edits(ctl, 'sed -i "s/^time = .*/time = 2h/; s/^cpus = .*/cpus = many/" "$1"')
    said = ctl.fails(2, "edit", "1")
    assert "'many' is not a number" in said
    assert "time = 2h" in kept(ctl, said)
    assert ctl.spec(1) == before


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("gpus", "line 1: 'gpus' is not of the form option = value"),
        ("cpsu = 1", "line 1: 'cpsu' is not an option that can be changed (did you mean cpus?)"),
        ("project = x", "line 1: --project cannot be changed: the project of a job is fixed at submission"),
        ("cpus = 1\ncpus-per-task = 2", "line 2: cpus is given twice"),
        (" cpus = 1", "line 1 begins with a space, as if it continued an option, but there is none"),
        ("shared = maybe", "shared: 'maybe' is neither yes nor no"),
        ("cpus = 1\npriority = 10\ngpus = 0\ncommand = true", "--name cannot be cleared: a job must have one"),
        ("name = x\ncommand =", "--command cannot be cleared: a job must have one"),
        ("name = \udcff\ncommand = true", "UTF-8"),
    ],
)
def test_a_wrong_text(ctl: Ctl, line: str, said: str) -> None:
    ctl.submit("true")
    before = ctl.spec(1)
    (ctl.home / "wrong").write_text(f"{line}\n", errors="surrogateescape")
    edits(ctl, f'cp {ctl.home}/wrong "$1"')
    assert said in ctl.fails(1, "edit", "1")
    assert ctl.spec(1) == before


def test_editors_that_do_not_edit(ctl: Ctl) -> None:
    ctl.submit("true")
    edits(ctl, "exit 3")
    said = f"the editor '{ctl.home}/an editor' failed (exit status 3); nothing is changed"
    assert ctl.fails(1, "edit", "1") == said
    assert not left(ctl)
    edits(ctl, 'echo "cpus = 2" >"$1"; kill -9 $$')
    said = ctl.fails(1, "edit", "1")
    assert "failed (signal 9)" in said
    assert kept(ctl, said) == "cpus = 2\n"
    for path in left(ctl):
        path.unlink()
    edits(ctl, 'rm "$1"')
    assert ctl.fails(1, "edit", "1") == "the editor left no text; nothing is changed"
    ctl.env["EDITOR"] = "no-such-editor -w"
    assert ctl.fails(3, "edit", "1") == "there is no editor 'no-such-editor'; EDITOR names it"
    ctl.env["VISUAL"] = "'x"
    assert ctl.fails(3, "edit", "1") == "VISUAL='x cannot be read: no closing quotation"
    assert ctl.spec(1).cpus == 1
    assert not left(ctl)


def test_which_editor(ctl: Ctl) -> None:
    """VISUAL comes before EDITOR; without both, `editor` before `vi`."""
    ctl.submit("true")
    place = ctl.home / "bin"
    place.mkdir()
    (place / "vi").write_text('#!/bin/sh\necho "comment = vi" >>"$1"\n')
    (place / "editor").write_text('#!/bin/sh\necho "comment = editor" >>"$1"\n')
    (place / "mine").write_text('#!/bin/sh\necho "comment = mine $1" >>"$2"\n')
    for each in place.iterdir():
        each.chmod(0o700)
    where = os.pathsep.join([str(place), ctl.env["PATH"]])
    tried = {"mine -a": {"VISUAL": "mine -a", "EDITOR": "editor"}, "editor": {"VISUAL": " "}, "vi": {"EDITOR": "vi"}}
    for wanted, variables in tried.items():
        env = {name: value for name, value in ctl.env.items() if name not in ("VISUAL", "EDITOR")}
        ctl.ok("edit", "1", env={**env, **variables, "PATH": where})
        assert ctl.spec(1).comment == wanted
        ctl.ok("update", "1", "--clear", "comment")
    said = ctl.run("edit", "1", env={**ctl.env, "PATH": str(ctl.home), "EDITOR": "", "VISUAL": ""})
    assert (said.returncode, said.stderr) == (3, "gflowctl: there is no editor; name one in EDITOR, e.g. EDITOR=nano\n")


def test_the_job_changes_meanwhile(ctl: Ctl) -> None:
    ctl.submit("-t", "90", "true")
    program = " ".join(PROGRAM)
    edits(ctl, f'sed -i "s/^cpus = .*/cpus = 4/" "$1"; {program} update 1 -p 77 >/dev/null')
    ctl.ok("edit", "1")
    assert (ctl.spec(1).cpus, ctl.spec(1).priority) == (4, 77), "what was left alone stays"
    edits(ctl, f'sed -i "s/^cpus = .*/cpus = 8/" "$1"; {program} cancel 1 >/dev/null')
    said = ctl.fails(1, "edit", "1")
    assert said.startswith("job 1: --cpus cannot be changed: the job has ended (cancelled)")
    assert "cpus = 8" in kept(ctl, said)


def test_a_running_job(ctl: Ctl) -> None:
    ctl.submit("-t", "90", "true")
    ctl.run_job(1)
    edits(ctl, 'sed -i "s/^time = .*/time = 3h/" "$1"')
    ctl.ok("edit", "1")
    assert ctl.spec(1).time_limit == 10800
    assert "can be changed: time, signal, quiet-limit, comment" in seen(ctl).replace("\n# ", " ")
    edits(ctl, 'sed -i "s/^cpus = .*/cpus = 3/; s/^time = .*/time = 4h/" "$1"')
    assert ctl.fails(1, "edit", "1").startswith("job 1: --cpus cannot be changed while the job is running")
    assert ctl.spec(1).time_limit == 10800


def test_an_array_is_edited_as_a_whole(ctl: Ctl) -> None:
    ctl.ok("submit", "--param", "lr=1,2", "--max-concurrent", "1", "echo", "{lr}")
    edits(ctl, 'sed -i "s/^max-concurrent = .*/max-concurrent = 2/; s/^#param =/param = lr=7/" "$1"')
    assert ctl.ok("edit", "@") == "Updated jobs 1_[0-1]\n"
    assert [job["params"] for job in ctl.jobs()] == [{"lr": "7"}] * 2
    assert ctl.jobs()[0]["max_concurrent"] == 2
    assert "command = echo '{lr}'\n" in seen(ctl)
    for each in ("1_1", "2"):
        assert ctl.fails(1, "edit", each) == "the elements of an array are edited together; give 1"


def test_what_cannot_be_edited_opens_no_editor(ctl: Ctl) -> None:
    edits(ctl, "")
    assert ctl.fails(1, "edit", "1") == "no job 1"
    assert not os.path.lexists(ctl.state.root)
    ctl.submit("true")
    ctl.submit("true")
    ctl.end_job(2)
    assert ctl.fails(2, "edit", "1,2") == "give one job or one array"
    assert ctl.fails(1, "edit", "2") == "job 2 has ended (finished); gflowctl redo makes a new job"
    ctl.archive(2)
    assert ctl.fails(1, "edit", "2") == "job 2 is in the history; gflowctl redo queues a new job like it"
    assert not (ctl.home / SEEN).exists()


def test_a_series_and_its_json(ctl: Ctl) -> None:
    ctl.submit("--repeat", "daily 02:00", "true")
    edits(ctl, 'sed -i "s/^repeat = daily 02:00/repeat = daily 03:00/; s/^overlap = skip/overlap = queue/" "$1"')
    (record,) = json.loads(ctl.ok("edit", "1", "--json"))
    assert record["id"] == 1
    repeat = ctl.spec(1).repeat
    assert (repeat.rule, repeat.overlap) == ("daily 03:00", "queue")


def test_times_are_in_the_time_zone_that_is_asked_for(ctl: Ctl) -> None:
    ctl.submit("--begin", "2035-01-01T00:00:00Z", "true")
    edits(ctl, 'sed -i "s/^begin = .*/begin = 2035-01-01 10:00/" "$1"')
    ctl.ok("edit", "1", "--timezone", "Asia/Tokyo")
    assert "\nbegin = 2035-01-01T09:00:00+09:00\n" in seen(ctl)
    assert "time zone Asia/Tokyo" in seen(ctl)
    assert ctl.jobs()[0]["begin_at"] == "2035-01-01T01:00:00.000000Z"


def on_a_terminal(ctl: Ctl, answer: str) -> tuple[str, int]:
    """What `edit 1` shows there, asked once, and its status."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [*PROGRAM, "edit", "1"], cwd=ctl.home, env=ctl.env, stdin=follower, stdout=follower, stderr=follower
    )
    os.close(follower)
    shown, answered, deadline = b"", False, time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            shown += os.read(leader, 65536)
        except OSError:  # it has ended
            break
        if b"[Y/n]" in shown and not answered:
            answered = True
            os.write(leader, answer.encode())
    os.close(leader)
    return shown.decode(), process.wait(60)


def test_a_refused_text_can_be_edited_again_on_a_terminal(ctl: Ctl) -> None:
    ctl.submit("true")
    edits(
        ctl, 'grep -q "^cpus = x" "$1" && sed -i "s/^cpus = .*/cpus = 5/" "$1" || sed -i "s/^cpus = .*/cpus = x/" "$1"'
    )
    shown, status = on_a_terminal(ctl, "n\n")
    assert (status, ctl.spec(1).cpus) == (2, 1)
    assert "cpus = x" in kept(ctl, shown.strip())
    left(ctl)[0].unlink()
    shown, status = on_a_terminal(ctl, "\n")
    assert (status, ctl.spec(1).cpus) == (0, 5)
    assert "'x' is not a number" in shown
    assert shown.endswith("Updated job 1\r\n")
    assert not left(ctl)
