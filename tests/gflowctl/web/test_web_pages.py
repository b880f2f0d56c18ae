"""What the pages show and do, asked in this process, without a daemon."""

from __future__ import annotations

import html
import json
import os
import re
import time
from typing import TYPE_CHECKING

import pytest

from gflowd.core.job import codec
from gflowd.core.job.model import PROCESS, Ended, Run

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.asgi import Asking
    from support.ctl import Ctl

    Opened = Callable[[Ctl], Asking]

HOSTILE = "<img src=x onerror=alert(1)>\x1b[31m\u202e&amp;"
GPU = {
    "index": 0, "uuid": "GPU-0", "model": "NVIDIA A100", "memory_mb": 40960, "used_mb": 20480, "utilisation": 83,
    "temperature": 61, "state": "busy", "jobs": [3], "answers": True,
    "processes": [{"pid": 900, "user": "<b>eve</b>", "graphics": False}],
}  # fmt: skip


def shown(text: str) -> str:
    """The text of a page, without its tags."""
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", text)))


@pytest.fixture(scope="module")
def page(mixed: Ctl, opened: Opened) -> Asking:
    """Of jobs in every state; a hostile name, an output, a GPU, reservations."""
    mixed.submit("-n", HOSTILE, "--", "sh", "-c", HOSTILE)
    mixed.ok("submit", "-n", "lr", "-a", "1-500%4", "-t", "1h", "--", "true")
    log = mixed.run_job(3, gpu_ids=(0,), executor="tmux")
    log.write_bytes(b"\x1b[32mgreen\x1b[0m <script>alert(1)</script>\r\n10%\r90%")
    observed = {"at": time.time(), "gpus": [GPU], "capacity": {"gpus": 1, "cpus": 8, "memory_mb": 65536}}
    mixed.home.joinpath("observed.json").write_text(json.dumps(observed))
    (mixed.home / "observed.json").chmod(0o600)
    (mixed.home / "observed.json").rename(mixed.state.observed)
    began = time.time() - 7200
    run = Run(executor=PROCESS, launched_at=began, gpu_ids=(0,))
    ended = Ended(state="finished", ended_at=began + 3600, started_at=began, run=run, exit_code=0)
    mixed.set_phase(4, ended)
    with mixed.store.commit() as commit:
        commit.put("attempt", "3.1", codec.encode_phase(ended))
        for number, gpu_list in ((1, [0]), (2, None)):
            window = {"user": "ada", "gpus": 0 if gpu_list else 1, "start": time.time() + 3600, "duration": 3600.0}
            commit.put(
                "reservation", number, {**window, "gpu_list": gpu_list, "created_by": "<i>", "created_at": began}
            )
    return opened(mixed)


def test_the_queue_has_what_runs_first_and_says_that_nothing_starts(page: Asking) -> None:
    answer = page.get("/")
    text = shown(answer.text)
    assert answer.status == 200
    assert "gflowd is not running: no job starts until gflowd start" in text
    assert "0 NVIDIA" not in text
    assert "A100 busy 83 % 20G / 40G" in text
    assert "1 running 502 queued 1 held" in text
    labels = re.findall(r'<td class="c-id"><a href="/jobs/[^"]*">([^<]*)</a>', answer.text)
    assert labels == ["3", "1", "7", "8_[1-500%4]", "2"]
    assert "DaemonDown" in text
    assert "everybody" in text


def test_the_queue_is_chosen_from(page: Asking) -> None:
    for query, labels in (
        ("state=ended", ["6", "5", "4"]), ("state=failed", ["5"]), ("state=held", ["2"]), ("q=LR", ["8_[1-500%4]"]),
        ("q=7", ["7"]), ("user=nobody", []), ("q=ml", ["2"]), ("state=all&q=onerror", ["7"]),
        ("state=nonsense&q=8", ["8_[1-500%4]"]),
        ("state=all", ["3", "1", "7", "8_[1-500%4]", "2", "6", "5", "4"]),
        ("from=3", ["8_[1-500%4]", "2"]), ("from=x", ["3", "1", "7", "8_[1-500%4]", "2"]), ("from=9999", []),
    ):  # fmt: skip
        found = re.findall(r'<td class="c-id"><a href="/jobs/[^"]*">([^<]*)</a>', page.get(f"/?{query}").text)
        assert found == labels, query


def test_nothing_that_a_job_says_is_taken_for_markup(page: Asking) -> None:
    for path in (
        "/", "/jobs/7", "/jobs/3", "/jobs/8", "/gpus", "/reservations", "/ask?do=cancel&job=7", "/statistics",
        "/?q=<script>", "/jobs/<script>", "/statistics?user=<script>&by=<b>", "/ask?do=hold&job=<script>",
    ):  # fmt: skip
        text = page.get(path).text
        tags = set(re.findall(r"<(\w+)", text))
        assert tags.isdisjoint({"img", "i"}), path
        assert text.count("<script") == 1, path
        assert "<b>eve" not in text
        assert not re.search("[\x00-\x08\x0b-\x1f\u202e]", text), path
        assert not re.search(r"\sstyle=|\son\w+=(?!alert)|javascript:", re.sub(r"(?s)&lt;.*?&gt;", "", text)), path
    assert "<img src=x onerror=alert(1)>\u241b[31m\\u202e&amp;" in shown(page.get("/").text)


def test_a_job_shows_what_show_says_and_its_output(page: Asking) -> None:
    text = shown(page.get("/jobs/3").text)
    assert "Job 3 c running" in text
    assert "Resources 2 GPUs, 1 CPU, 1:00:00 at most" in text
    assert "green <script>alert(1)</script> 90%" in text
    raw = page.get("/raw/3")
    assert raw.body == b"\x1b[32mgreen\x1b[0m <script>alert(1)</script>\r\n10%\r90%"
    assert raw.headers["content-disposition"] == 'attachment; filename="gflow-3-1.log"'
    assert raw.headers["content-type"] == "application/octet-stream"
    assert "its last is 1" in shown(page.get("/jobs/3?attempt=7").text)
    assert "It has not started" in shown(page.get("/jobs/1").text)
    assert "Signaled:SIGKILL" in shown(page.get("/jobs/5").text)


def test_an_array_is_shown_as_a_whole_and_by_element(page: Asking) -> None:
    text = shown(page.get("/jobs/8").text)
    assert "Array 8 lr" in text
    assert "Elements, the first 200 of 500" in text
    assert "Array 8 Job 8_3 lr" in shown(page.get("/jobs/8_3").text)


def test_what_is_not_there_is_said_in_a_sentence(page: Asking) -> None:
    for path, status, words in (
        ("/jobs/999", 404, "no job 999"), ("/jobs/8_999", 404, "8_999"), ("/jobs/../etc/passwd", 404, "no job"),
        ("/jobs/@", 404, "no job '@'"), ("/nowhere", 404, "there is no such page"), ("/raw/1", 404, "has not started"),
        ("/ask?do=hold", 404, "mark the jobs to hold first"), ("/ask?do=rm&job=1", 404, "asks for nothing"),
        ("/ask?do=hold&job=3", 404, "only queued jobs can be held"),
    ):  # fmt: skip
        answer = page.get(path)
        assert (answer.status, words in shown(answer.text)) == (status, True), (path, shown(answer.text))


def test_gpus_and_reservations_are_drawn(page: Asking) -> None:
    text = page.get("/gpus?range=6h").text
    assert 'href="/jobs/4"' in text
    assert "job 4 (d)" in text
    assert "83 % load" in text
    assert "reserved: ada from" in shown(text)
    widths = [float(each) for each in re.findall(r'(?:width|x)="([\d.]+)%"', text)]
    assert all(0 <= each <= 100 for each in widths)
    text = page.get("/reservations?range=1d&all=1").text
    assert "reservation 1 for ada" in text
    assert re.findall(r'row-name num">([^<]*)', text) == ["GPU 0", "any 1"]


def test_statistics_count_as_stats_does(page: Asking, mixed: Ctl) -> None:
    found = json.loads(mixed.ok("stats", "--all-users", "--json"))["groups"][0]
    text = shown(page.get("/statistics?range=all&by=day").text)
    assert f"Jobs {found['jobs']} Success rate" in text
    assert f"GPU hours {found['gpu_hours']:.2f}" in text


def test_a_page_is_kept_up_to_date_by_events(page: Asking) -> None:
    answer = page.ask("GET", "/live/jobs/3?log=0", until=lambda body: b"event: log" in body)
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = dict(re.findall(r"event: ([\w-]+)\ndata: (.*)\n", answer.text))
    assert json.loads(events["fragment"])["name"] == "job"
    assert "running" in json.loads(events["fragment"])["html"]
    assert json.loads(events["log"]) == {
        "anew": False, "add": "green <script>alert(1)</script>\n", "rest": "90%", "at": 42,
    }  # fmt: skip
    answer = page.ask("GET", "/live/", until=lambda body: b"event: as-of" in body)
    assert {json.loads(data)["name"] for data in re.findall(r"event: fragment\ndata: (.*)\n", answer.text)} == {
        "notices", "machine", "jobs",
    }  # fmt: skip


def test_a_place_in_a_log_that_is_none_is_the_beginning(page: Asking) -> None:
    for place in ("9" * 6000, "-1", "x"):
        found = page.ask("GET", "/live/jobs/1?log=0", until=lambda data: b"as-of" in data, last_event_id=place)
        assert found.status == 200


def test_more_pages_than_there_may_be_end_at_once(page: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    from gflowctl.web.live import Streams

    answers = iter((False, True))  # others come between the question and the first event
    monkeypatch.setattr(Streams, "are_many", property(lambda _: next(answers)))
    assert page.get("/live/").body == b""


def test_files_of_the_page_are_served_and_no_others(page: Asking) -> None:
    assert page.get("/static/gflow.css").headers["content-type"].startswith("text/css")
    assert page.get("/static/gflow.js").headers["content-type"].startswith("text/javascript")
    for path in ("/static/../app.py", "/static/%2e%2e%2fapp.py", "/static/nothing"):
        assert page.get(path).status == 404, path


def form_of(page: Asking, path: str) -> str:
    """The fields of the form of a question, as a browser sends them."""
    found = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page.get(path).text)
    return "&".join(f"{name}={html.unescape(value)}" for name, value in found)


def test_a_queue_that_is_gone_is_not_an_empty_one_and_a_history_that_cannot_be_read_is_told(
    ctl: Ctl, opened: Opened
) -> None:
    page = opened(ctl)
    ctl.submit("true")
    assert page.get("/").status == 200
    ctl.end_job(1, exit_code=0)
    ctl.archive(1)
    with open(ctl.state.history, "wb") as file:
        file.write(b"no database at all, as everyone can see who looks" * 100)
    for path in ("/?state=ended", "/statistics?range=all", "/gpus?range=7d"):
        assert "showing only jobs that are still in the queue" in page.get(path).text, path
    assert "showing only jobs" not in page.get("/").text
    os.rename(ctl.state.root, f"{ctl.state.root}.away")
    for path in ("/", "/gpus", "/statistics"):
        found = page.get(path)
        assert (found.status, "is gone" in found.text) == (500, True), path
    live = page.ask("GET", "/live/", until=lambda data: b"fragment" in data)
    assert "is gone" in live.text
    os.rename(f"{ctl.state.root}.away", ctl.state.root)
    assert page.get("/").status == 200


def test_what_is_asked_is_done_as_this_user(ctl: Ctl, opened: Opened) -> None:
    page, here = opened(ctl), {"origin": "http://127.0.0.1:8421"}
    assert "Nothing is queued or running" in page.get("/").text
    assert not ctl.state.has_snapshot()
    first = ctl.submit("-n", "one", "true")
    second = ctl.submit("-d", str(first), "true")
    asked = page.get(f"/ask?do=cancel&job={first}")
    assert asked.headers["referrer-policy"] == "same-origin"
    assert f"Job {second}, which can then never run, would be cancelled too." in shown(asked.text)
    assert ctl.jobs(str(first))[0]["state"] == "queued"

    done = page.post("/do", form_of(page, f"/ask?do=hold&job={first}"), **here)
    assert done.status == 303
    assert f"Held job {first}." in shown(page.get(done.headers["location"]).text)
    assert "Held job" not in page.get(done.headers["location"]).text
    page.post("/do", form_of(page, f"/ask?do=release&job={first}"), **here)
    assert ctl.jobs(str(first))[0]["state"] == "queued"
    form = form_of(page, f"/ask?do=redo&job={first}")
    for _ in range(2):  # a double click
        done = page.post("/do", form, **here)
        assert done.headers["location"].startswith("/jobs/3?told=")
        assert len(ctl.jobs()) == 3
    assert ctl.jobs("3")[0]["redone_from"] == first
    done = page.post("/do", form_of(page, f"/ask?do=cancel&job={first}&job=3"), **here)
    assert done.headers["location"].startswith("/?told=")
    [job] = ctl.jobs(str(first))
    assert (job["state"], job["cancelled_by"]) == ("cancelled", job["user"])
    assert page.post("/do", "do=cancel&job=2", **here).status == 403
    assert page.post("/do", form_of(page, "/ask?do=cancel&job=2").replace("job=2", "job=3&x=1"), **here).status == 303
    assert page.post("/do", form_of(page, "/ask?do=cancel&job=2").replace("do=cancel", "do=rm"), **here).status == 400
    assert page.post("/do", form_of(page, "/ask?do=hold&job=2").replace("job=2", "job=77"), **here).status == 409
    assert page.post("/do", "x" * 300000, **here).status == page.post("/do", "a=b&" * 20000, **here).status == 413
    assert page.get("/do?do=cancel&job=2").status == 404
    (ctl.home / "state.json").write_text("{}")
    (ctl.home / "state.json").rename(ctl.state.observed)
    answer = page.get("/")
    assert (answer.status, "chmod 600" in answer.text) == (500, True)
