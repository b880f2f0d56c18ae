"""Memory limits, and warnings before the time limit: the real daemon, real processes, both executors."""

from __future__ import annotations

import json
import sys
import textwrap
import time
from datetime import datetime

from support.machine import ROOT, Machine, alive
from support.waiting import eventually

GROW = textwrap.dedent("""
    import time
    kept = []
    while True:
        kept.append(bytearray(b"x") * (10 << 20))
        time.sleep(0.02)
""")


def python(text: str) -> tuple[str, ...]:
    return "--", sys.executable, "-c", text


def test_a_job_that_takes_too_much_memory_is_ended(either: Machine) -> None:
    job_id = either.submit("-m", "200M", *python(GROW))
    assert either.wait(job_id) == 137
    job = either.job(job_id)
    assert (job["state"], job["reason"], job["signal"]) == ("failed", "OutOfMemory", 9)


def test_its_children_take_part_and_are_ended_with_it(either: Machine) -> None:
    """None of them is over the limit alone, one has left the session; the shell only waits."""
    grow = GROW.replace("while True", "for _ in range(15)") + "time.sleep(1000)\n"
    (either.work / "grow.py").write_text(f"import os, time\nwhile not os.path.exists('go'): time.sleep(0.01)\n{grow}")
    text = f"for n in 1 2 3; do {sys.executable} grow.py & done; setsid {sys.executable} grow.py & touch ready; wait"
    job_id = either.submit("-m", "350M", "--", "sh", "-c", text)
    eventually((either.work / "ready").exists)
    pids = either.of_job(job_id)
    either.open_gate("go")
    assert either.wait(job_id) == 137
    assert either.job(job_id)["reason"] == "OutOfMemory"
    assert not [pid for pid in pids if alive(pid)]
    assert either.of_job(job_id) == {}


def test_a_job_just_below_its_memory_lives(either: Machine) -> None:
    text = GROW.replace("while True", "for _ in range(17)") + "time.sleep(3)\nprint(len(kept))\n"
    assert either.result("-m", "220M", *python(text)) == "17\n"


def test_out_of_memory_can_be_tried_again(either: Machine) -> None:
    text = f"import os\nif os.environ['GFLOW_ATTEMPT'] == '1':\n{textwrap.indent(GROW, '    ')}\nprint('small')"
    job_id = either.submit("-m", "200M", "--max-retries", "1", "--retry-on", "oom", *python(text))
    assert either.wait(job_id) == 0
    assert either.job(job_id)["attempt"] == 2
    (first,) = json.loads(either.ctl("show", "--json", str(job_id)).stdout)[0]["attempts"]
    assert (first["state"], first["reason"]) == ("failed", "OutOfMemory")


def test_out_of_memory_is_not_tried_again_unless_asked_for(either: Machine) -> None:
    job_id = either.submit("-m", "200M", "--max-retries", "3", *python(GROW))
    assert either.wait(job_id) == 137
    assert either.job(job_id)["attempt"] == 1


def test_with_strays_left_alone_the_limit_holds_all_the_same(machine: Machine) -> None:
    machine.write_config(daemon={"kill_strays": False})
    machine.start()
    job_id = machine.submit("-m", "200M", *python(GROW))
    assert machine.wait(job_id) == 137
    eventually(lambda: machine.of_job(job_id) == {})


def test_the_daemon_says_who_keeps_the_limits(own: Machine) -> None:
    who = eventually(lambda: own.status()["memory_limits"])
    words = {"cgroup": "enforced by the kernel", "watch": "checked about once a second"}[who]
    assert words in own.gflowd("status").stdout
    assert words in own.ctl("doctor").stdout
    text = "import sys; sys.exit('/1.1' not in open('/proc/self/cgroup').read())"
    assert own.wait(own.submit("-m", "200M", *python(text))) == (0 if who == "cgroup" else 1)
    assert own.wait(own.submit(*python(text))) == 1, "without a limit it needs no group"


SAVE = "trap 'echo {0} >>got' USR1; touch {0}.ready; until [ -e over ]; do sleep 0.05; done"


def saving(machine: Machine, *options: str) -> int:
    """A running job of a command and its child, both of which note their warnings; they end when told to."""
    text = f'sh -c "{SAVE.format("child")}" & {SAVE.format("command")}; wait; exit 3'
    job_id = machine.submit(*options, "--", "sh", "-c", text)
    eventually(lambda: all((machine.work / f"{name}.ready").exists() for name in ("child", "command")))
    machine.until(job_id, "running")
    return job_id


def warn_soon(machine: Machine, job_id: int) -> None:
    """Has the job's time end an hour from now, of which the warning takes 59 minutes: it is due in a second."""
    begun = datetime.fromisoformat(machine.job(job_id)["started_at"]).timestamp()
    machine.ctl("update", "--time", f"{int(time.time() - begun) + 59 * 60 + 2}s", str(job_id))


def test_a_warning_comes_once_and_in_time(either: Machine) -> None:
    job_id = saving(either, "--time", "2h", "--signal", "USR1@59m")
    warn_soon(either, job_id)
    eventually(lambda: sorted(either.lines("got")) == ["child", "command"])
    either.open_gate("over")
    assert either.wait(job_id) == 3, "it had time to end by itself"
    assert sorted(either.lines("got")) == ["child", "command"]
    assert either.job(job_id)["reason"] == "NonZeroExit"


def test_a_warning_may_go_to_the_command_alone(either: Machine) -> None:
    job_id = saving(either, "--time", "2h", "--signal", "B:USR1@59m")
    warn_soon(either, job_id)
    eventually(lambda: either.lines("got"))
    either.open_gate("over")
    assert either.wait(job_id) == 3
    assert either.lines("got") == ["command"]


def test_a_new_time_limit_moves_the_warning(either: Machine) -> None:
    job_id = saving(either, "--time", "2h", "--signal", "USR1@59m")
    assert either.lines("got") == []
    either.ctl("update", "--time", "59m1s", str(job_id))
    eventually(lambda: sorted(either.lines("got")) == ["child", "command"])
    either.ctl("update", "--time", "3h", str(job_id))
    either.ctl("update", "--time", "59m1s", str(job_id))
    either.open_gate("over")
    assert either.wait(job_id) == 3
    assert sorted(either.lines("got")) == ["child", "command"], "once for each attempt"


def test_a_warning_may_be_asked_for_while_the_job_runs(either: Machine) -> None:
    job_id = saving(either)
    either.ctl("update", "--time", "1h", "--signal", "B:USR1@59m59s", str(job_id))
    eventually(lambda: either.lines("got") == ["command"])
    either.open_gate("over")
    assert either.wait(job_id) == 3


def test_the_example_saves_itself_and_is_resumed(either: Machine) -> None:
    example = str(ROOT / "examples" / "resume.py")
    # It is deaf to a warning before it can hear one, as it would be on a slow machine with a longer limit; 138 is that
    # even a shell came too late.
    deaf = ("--", "sh", "-c", 'trap "" USR1; exec "$@"', "sh")
    run = (sys.executable, example, "--epochs", "40", "--pause", "0.1")
    options = ("--time", "3s", "--signal", "USR1@1", "--max-retries", "20", "--retry-on", "75,138,timeout")
    job_id = either.submit(*options, *deaf, *run, "--checkpoint", "broken.json")
    assert either.wait(job_id) == 0
    assert either.job(job_id)["attempt"] > 1
    whole = either.submit("--", *run, "--checkpoint", "whole.json")
    assert either.wait(whole) == 0
    assert (either.work / "broken.json").read_text() == (either.work / "whole.json").read_text()
