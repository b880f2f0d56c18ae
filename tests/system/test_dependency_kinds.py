"""Jobs that wait for others, with the real daemon."""

from __future__ import annotations

import pytest
from support.machine import GATE, Machine
from support.waiting import eventually

FINISHED, FAILED = ["true"], ["false"]


def reason(machine: Machine, job_id: int) -> str:
    return str(machine.job(job_id)["reason"])


@pytest.mark.parametrize(
    ("kind", "comes", "never"),
    [("afterok", FINISHED, FAILED), ("afternotok", FAILED, FINISHED)],
)
def test_one_that_must_end_well_or_badly(up: Machine, kind: str, comes: list[str], never: list[str]) -> None:
    good, bad = up.submit(*comes), up.submit(*never)
    started = up.submit("-d", f"{kind}:{good}", "true")
    cancelled = up.submit("-d", f"{kind}:{bad}", "true")
    assert up.wait(started) == 0
    assert up.wait(cancelled) == 130
    assert reason(up, cancelled) == f"DependencyFailed:{bad}"


def test_one_that_must_end_however(up: Machine) -> None:
    ids = [up.submit("--wrap", f"{GATE}; {text}") for text in ("exit 0", "exit 4")]
    waiting = [up.submit("-d", f"afterany:{job_id}", "true") for job_id in ids]
    last = up.submit("-d", f"afterany:{ids[0]}:{ids[1]}", "true")
    eventually(lambda: [reason(up, job_id) for job_id in (*waiting, last)] == ["Dependency"] * 3)
    up.open_gate()
    assert up.wait(*waiting, last) == 0


def test_one_that_must_have_started(up: Machine) -> None:
    first = up.submit("--hold", "--wrap", GATE)
    second = up.submit("-d", f"after:{first}", "true")
    late = up.submit("-d", f"after:{first}+10", "true")
    eventually(lambda: reason(up, second) == "Dependency")
    up.ctl("release", str(first))
    assert up.wait(second) == 0
    assert up.job(first)["state"] == "running"
    assert reason(up, late) == "Dependency"
    up.open_gate()
    up.cancel(late)


def test_any_of_several_is_enough(up: Machine) -> None:
    gate, bad, good = up.submit("--wrap", GATE), up.submit("false"), up.submit("true")
    either = up.submit("-d", f"{gate}?{bad}?{good}", "true")
    same = up.submit("--depends-on-any", f"{gate},{bad},{good}", "true")
    none = up.submit("-d", f"{bad}?afternotok:{good}", "true")
    assert up.wait(either, same) == 0
    assert up.wait(none) == 130
    up.open_gate()
    assert up.wait(gate) == 0


def test_a_singleton_waits_for_its_elders(up: Machine) -> None:
    elder = up.submit("-n", "only", "--wrap", GATE)
    stranger = up.submit("-n", "another", "--singleton", "true")
    younger = up.submit("-n", "only", "--singleton", "true")
    assert up.wait(stranger) == 0
    assert up.job(younger)["state"] == "queued"
    up.open_gate()
    assert up.wait(elder, younger) == 0


def test_each_element_waits_for_its_partner(up: Machine) -> None:
    done = up.ctl("submit", "--parsable", "-a", "1-2", "--wrap", "exit $((GFLOW_ARRAY_TASK_ID - 1))").stdout
    first = int(done.partition("-")[0])
    done = up.ctl("submit", "--parsable", "-a", "1-2", "-d", f"aftercorr:{first}", "true").stdout
    second = int(done.partition("-")[0])
    whole = up.submit("-d", f"afterany:{second}", "true")
    assert up.wait(whole) == 0
    assert [up.job(second + place)["state"] for place in (0, 1)] == ["finished", "cancelled"]
    assert reason(up, second + 1) == f"DependencyFailed:{first + 1}"
    assert "no job" in up.refused(1, "submit", "-a", "1-3", "-d", f"aftercorr:{first}", "true")


def test_a_bare_id_means_the_array_and_an_elements_id_the_element(up: Machine) -> None:
    done = up.ctl("submit", "--parsable", "-a", "1-3", "--wrap", f"[ $GFLOW_ARRAY_TASK_ID = 2 ] || {GATE}").stdout
    first = int(done.partition("-")[0])
    words = ("-d", f"{first}"), ("-d", f"{first + 1}"), ("-d", f"{first}_2"), ("-d", f"{first + 1}-{first + 1}")
    whole, *elements = [up.submit(*each, "true") for each in words]
    spread = up.submit("-d", f"{first}-{first + 1}", "true")
    assert up.wait(*elements) == 0
    assert [up.job(job_id)["state"] for job_id in (whole, spread)] == ["queued", "queued"]
    up.open_gate()
    assert up.wait(whole, spread) == 0


def test_the_last_submission_is_an_at(up: Machine) -> None:
    first = up.submit("--wrap", GATE)
    second = up.submit("-d", "@", "true")
    third = up.submit("-d", "@~1", "true")
    assert [each["id"] for job_id in (second, third) for each in up.job(job_id)["dependencies"]] == [first, first]
    up.open_gate()
    assert up.wait(second, third) == 0


def test_who_waited_for_a_failed_job_falls_with_it_and_who_would_stay_stays(up: Machine) -> None:
    head = up.submit("--hold", "false")
    chain = [head]
    for _ in range(3):
        chain.append(up.submit("-d", str(chain[-1]), "true"))
    stays = up.submit("-d", str(chain[1]), "--no-auto-cancel", "true")
    after = up.submit("-d", f"afterany:{chain[-1]}", "true")
    up.ctl("release", str(head))
    assert up.wait(after) == 0
    assert [reason(up, job_id) for job_id in chain[1:]] == [f"DependencyFailed:{job_id}" for job_id in chain[:-1]]
    assert (up.job(stays)["state"], reason(up, stays)) == ("queued", "Dependency")
    up.ctl("update", str(stays), "--clear", "depends-on")
    assert up.wait(stays) == 0


def test_a_job_that_stays_goes_once_its_mind_is_changed(up: Machine) -> None:
    head = up.submit("false")
    stays = up.submit("-d", str(head), "--no-auto-cancel", "true")
    up.wait(head)
    up.ctl("update", str(stays), "--auto-cancel")
    assert up.wait(stays) == 130
    assert reason(up, stays) == f"DependencyFailed:{head}"


def test_a_circle_is_refused_and_the_tree_shows_who_waits_for_whom(up: Machine) -> None:
    first = up.submit("-n", "root", "--hold", "true")
    second = up.submit("-n", "middle", "-d", str(first), "true")
    third = up.submit("-n", "leaf", "-d", str(second), "true")
    said = up.refused(1, "update", str(first), "-d", str(third))
    assert said == f"job {first} would wait for itself ({first} -> {third} -> {second} -> {first})"
    lines = up.ctl("queue", "--tree", "-f", "JOBID,NAME", f"{first}-{third}").stdout.splitlines()
    assert [line.split()[-1] for line in lines] == ["NAME", "root", "middle", "leaf"]
    assert [line.split("  ")[0].strip() for line in lines[1:2]] == [str(first)]
    assert [line.index("\\_") for line in lines[2:]] == sorted(line.index("\\_") for line in lines[2:])
    up.ctl("release", str(first))
    assert up.wait(third) == 0


def test_another_dependency_frees_a_job_that_waits(up: Machine) -> None:
    gate, done = up.submit("--wrap", GATE), up.submit("true")
    waits = up.submit("-d", str(gate), "true")
    up.wait(done)
    up.ctl("update", str(waits), "-d", str(done))
    assert up.wait(waits) == 0
    up.open_gate()
    up.wait(gate)


def test_a_dry_run_names_what_then_falls(up: Machine) -> None:
    first = up.submit("--wrap", GATE)
    array = int(up.ctl("submit", "--parsable", "-a", "1-2", "-d", f"{first}", "true").stdout.partition("-")[0])
    last = up.submit("-d", f"{array}_2", "true")
    after = up.submit("-d", f"afterany:{first}", "true")
    up.until(first, "running")
    assert up.ctl("cancel", "--dry-run", str(first)).stdout.splitlines() == [
        f"Would cancel job {first}",
        f"Would also cancel jobs {last},{array}_[1-2], which depend on job {first}",
    ]
    said = up.ctl("cancel", str(first)).stdout.splitlines()
    assert said == [f"Stopping job {first}", f"Also cancelling jobs {last},{array}_[1-2], which depend on job {first}"]
    up.wait(first, array, array + 1, last, after)
    jobs = up.jobs()
    assert [jobs[job_id]["state"] for job_id in (array, array + 1, last, after)] == [*["cancelled"] * 3, "finished"]
    assert {jobs[job_id]["reason"] for job_id in (array, array + 1)} == {f"DependencyFailed:{first}"}
