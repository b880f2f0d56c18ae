"""A job has the soft limits of resources (ulimit) of who submitted it, whoever started the daemon."""

from __future__ import annotations

import json

from support.machine import Machine

KINDS = "NOFILE CORE FSIZE STACK NPROC AS CPU DATA MEMLOCK RSS"
SHOW = (
    f'python3 -c \'import json, resource as r; print(json.dumps({{k: r.getrlimit(getattr(r, "RLIMIT_" + k)) '
    f'for k in "{KINDS}".split()}}))\''
)


def limits(machine: Machine, under: str, *options: str) -> dict[str, list[int]]:
    """Soft and hard, of a job submitted by a shell that has done `under`."""
    submit = ["gflowctl", "submit", "--parsable", *options, "--wrap", SHOW]
    done = machine.run("bash", "-c", f'{under}; exec "$@"', "sh", *submit)
    assert done.returncode == 0, done
    job_id = int(done.stdout)
    assert machine.wait(job_id) == 0, machine.log(job_id)
    found: dict[str, list[int]] = json.loads(machine.log(job_id))
    return found


def test_a_job_has_its_submitters_soft_limits(either: Machine) -> None:
    asked = ("-n 512", "-c 0", "-f 20000", "-s 4096", "-u 3000", "-v 4000000")
    under = "; ".join(f"ulimit -S {each}" for each in asked)
    found = limits(either, under)
    got = {kind: soft for kind, (soft, _) in found.items()}
    assert (got["NOFILE"], got["CORE"], got["STACK"], got["NPROC"]) == (512, 0, 4096 << 10, 3000)
    assert (got["FSIZE"], got["AS"]) == (20000 << 10, 4000000 << 10)
    assert found["NOFILE"][1] > 512, "the hard one stays, so that a job may raise its own"


def test_limits_of_the_daemon_are_not_the_jobs(machine: Machine) -> None:
    for executor in ("tmux", "process"):
        machine.write_config(executor={"type": executor})
        machine.run("bash", "-c", "ulimit -S -n 300; ulimit -S -f 9000; ulimit -S -s 1024; exec gflowd start")
        plain = machine.run("bash", "-c", "ulimit -n; ulimit -f; ulimit -s").stdout.split()
        found = limits(machine, ":")
        shown = ["unlimited" if soft == -1 else str(soft) for soft in (found["FSIZE"][0] // 1024, found["STACK"][0])]
        assert str(found["NOFILE"][0]) == plain[0]
        assert (found["FSIZE"][0] == -1) is (plain[1] == "unlimited"), shown
        assert str(found["STACK"][0] >> 10) == plain[2]
        machine.stop()


def test_what_is_over_the_daemons_hard_limits_is_cut_to_them(machine: Machine) -> None:
    machine.write_config(executor={"type": "process"})
    machine.run("bash", "-c", "ulimit -n 400; ulimit -f 200000; exec gflowd start")
    found = limits(machine, "ulimit -S -n 1000")
    assert found["NOFILE"] == [400, 400]
    assert found["FSIZE"] == [200000 << 10, 200000 << 10]


def test_a_job_that_is_done_again_keeps_them(either: Machine) -> None:
    done = either.run("bash", "-c", "ulimit -S -n 333; exec gflowctl submit --parsable --wrap 'ulimit -n'")
    either.wait(int(done.stdout))
    again = int(either.ctl("redo", "--parsable", done.stdout.strip()).stdout)
    assert either.wait(again) == 0
    assert either.log(again) == b"333\n"
