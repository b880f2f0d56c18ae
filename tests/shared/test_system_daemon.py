"""`gflowd run --system` on a machine with several users."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING

from support.waiting import eventually

if TYPE_CHECKING:
    from support.shared_machine import SharedMachine

AGAIN = "gflowd stop --system; gflowd run --system"


def test_it_is_roots_to_start(machine: SharedMachine) -> None:
    user, root = machine.as_user("gfa"), machine.as_user("root")
    assert user.refused(1, "run", "--system", program="gflowd").startswith("only root can run the daemon for all users")
    config = machine.root / "etc/gflow/gflow.toml"
    config.chmod(0o664)
    told = "/etc/gflow/gflow.toml can be written by others than root: chmod go-w /etc/gflow/gflow.toml"
    assert root.refused(1, "run", "--system", program="gflowd") == told
    config.chmod(0o644)
    assert not os.path.exists(machine.state.root)
    assert user.refused(3, "init", "--system", "--force", program="gflowd").endswith("Permission denied")
    root.gflowd("init", "--system", "--force")
    assert "[shared]" in config.read_text()
    assert config.stat().st_mode & 0o777 == 0o644
    assert root.ctl("config", "show", "shared.users", "--state-dir", "/nowhere", check=False).returncode == 2
    machine.write_config()


def test_it_makes_its_places_follows_its_configuration_and_leaves_users_their_own(machine: SharedMachine) -> None:
    user, root = machine.as_user("gfa"), machine.as_user("root")
    machine.start()
    shown = root.sh("stat -c '%n %U %a' /var/lib/gflow /var/lib/gflow/shared /var/spool/gflow/jobs /run/gflow/bell")
    assert shown.stdout.splitlines() == [
        "/var/lib/gflow root 711", "/var/lib/gflow/shared root 644", "/var/spool/gflow/jobs root 711",
        "/run/gflow/bell root 600",
    ]  # fmt: skip
    assert root.run(str(root.bin / "gflowd"), "status", "--system").returncode == 0
    for line in ("ls /var/lib/gflow", "echo >/run/gflow/bell", "echo >>/var/lib/gflow/shared",
                 "mkdir /var/spool/gflow/users/60001", "flock -n /var/lib/gflow/daemon.lock true"):  # fmt: skip
        assert user.sh(line).returncode != 0, line

    shown = user.gflowd("status").stdout.splitlines()
    assert shown[0].startswith("gflowd ")
    assert " is running: pid " in shown[0]
    assert "state     /var/lib/gflow of all users of this machine" in shown
    assert "gateway   answers at /run/gflow/gate.sock" in shown
    report = json.loads(root.gflowd("status", "--system", "--json").stdout)
    assert (report["system"], report["gateway"]["trouble"]) == (True, None)
    assert "scheduler" in {worker["name"] for worker in report["workers"]}

    def is_private() -> bool:
        return bool(json.loads((machine.root / "var/lib/gflow/shared").read_text())["private_jobs"])

    assert not is_private()
    own = {"env": {**root.env, "GFLOW_STATE_DIR": ""}}
    for words, told in (
        (("reload",), "no daemon of your own is running; that of all users of this machine: gflowd reload --system"),
        (("restart",), f"root has no daemon of its own that runs; that of all users of this machine: {AGAIN}"),
    ):
        assert root.refused(1, *words, program="gflowd", **own) == told
    assert root.gflowd("stop", **own).stderr == "gflowd for all users of this machine: gflowd stop --system, as root\n"
    machine.write_config(shared={"launcher": "systemd"})
    assert root.refused(1, "reload", "--system", program="gflowd").startswith(
        'shared.launcher = "systemd", but systemd'
    )
    machine.write_config(shared={"launcher": "own"})
    (machine.root / "var/lib/gflow/shared").unlink()
    root.gflowd("reload", "--system")
    eventually((machine.root / "var/lib/gflow/shared").exists)
    machine.write_config(shared={"private_jobs": True})
    machine.daemon.send_signal(signal.SIGHUP)
    eventually(is_private)
    eventually(lambda: os.stat(machine.state.snapshot).st_mode & 0o777 == 0o600)
    assert user.sh("cat /var/lib/gflow/snapshot.jsonl").returncode != 0

    user.env |= {"GFLOW_STATE_DIR": f"{user.home}/gflow"}
    assert user.gflowd("status", check=False).stdout.startswith("gflowd is not running (state /")
    assert user.run(str(user.bin / "gflowd"), "start").returncode == 0
    assert user.run(str(user.bin / "gflowd"), "stop").returncode == 0
    machine.stop()
    assert machine.daemon.returncode == 0, machine.said()


def findings(machine: SharedMachine, name: str) -> dict[str, str]:
    """What `gflowctl doctor` finds, with its level."""
    person = machine.as_user(name)
    person.env = {**person.env, "GFLOW_STATE_DIR": "/var/lib/gflow"}
    return {each["text"]: each["level"] for each in json.loads(person.ctl("doctor", "--json", check=False).stdout)}


def test_doctor_knows_whose_everything_is_to_be(machine: SharedMachine) -> None:
    machine.write_config(shared={"private_jobs": False})
    machine.start()
    for name in ("root", "gfb"):
        found = findings(machine, name)
        assert [text for text, level in found.items() if level == "FAIL"] == [], found
        assert "nothing of users is in /var/lib/gflow and /run/gflow, but all of it in /var/spool/gflow" in found
        assert "jobs are started by gflowd itself, with accounts checked by /etc/pam.d/gflow" in found
        assert "operators: root and group gflow-admin (gfop)" in found
    history = machine.root / "var/lib/gflow/scheduler.lock"
    history.chmod(0o644)
    (machine.root / "var/spool/gflow/jobs").chmod(0o700)
    (machine.root / "etc/pam.d/gflow").rename(machine.root / "etc/pam.d/gone")
    told = findings(machine, "root")
    assert told["/var/lib/gflow/scheduler.lock has mode 644"] == "FAIL"
    assert told["/var/spool/gflow/jobs has mode 700"] == "FAIL"
    assert (
        told["/etc/pam.d/gflow, by which accounts are checked, is missing: /etc/pam.d/other decides instead"] == "FAIL"
    )
    (machine.root / "etc/pam.d/gone").rename(machine.root / "etc/pam.d/gflow")
    machine.stop()
    told = findings(machine, "gfb")
    assert told["gflowd is not running"] == "WARN"
    assert [text for text, level in told.items() if text.startswith("nobody takes requests at /run/gflow/gate.sock: ")]
    assert "gateway   nobody answers at" in machine.as_user("gfb").gflowd("status", check=False).stdout


def test_jobs_of_ones_own_gflowd_are_not_forgotten(machine: SharedMachine) -> None:
    user = machine.as_user("gfa")
    user.env = {name: value for name, value in user.env.items() if name != "GFLOW_STATE_DIR"}
    machine.start()
    user.ctl("--daemon", "user", "submit", "--array=1-2", "true")

    def told(*words: str) -> str:
        words = (str(user.bin / "gflowctl"), *words)
        return user.sh(f"script -qec '{' '.join(words)}' /dev/null").stdout.replace("\r", "")

    note = "gflowctl: note: 2 jobs of your own gflowd have not ended; gflowctl --daemon user queue lists them\n"
    assert told("queue").endswith(note)
    assert "note:" not in told("--daemon", "user", "queue")
    assert "note:" not in user.ctl("queue").stderr
    user.ctl("--daemon", "user", "cancel", "--all")
    assert "note:" not in told("queue")
    assert "note:" not in machine.as_user("gfb").ctl("queue").stderr
    machine.stop()
    assert "(sudo systemctl" not in user.ctl("info").stdout
    assert "not running (gflowd run --system, as root)" in user.ctl("info").stdout


def test_root_backs_up_what_is_of_all_users(machine: SharedMachine) -> None:
    user, root = machine.as_user("gfa"), machine.as_user("root")
    machine.start()
    script = user.write("job.sh", "#!/bin/sh\necho ran as $(id -un) with $WORD\n", 0o700)
    job = user.submit("--hold", str(script), env={**user.env, "WORD": "sesame"})
    for words in (("backup", f"{user.home}/x"), ("restore", f"{user.home}/x")):
        assert user.refused(1, *words) == "only root backs up and restores what is of all users"
    assert root.refused(1, "backup", "--logs", "/run/x").startswith("--logs: of many users logs are theirs")
    root.ctl("backup", "/run/kept")
    machine.stop()
    root.sh("rm -r /var/lib/gflow/snapshot.jsonl /var/spool/gflow/users/60001")
    root.ctl("restore", "--force", "/run/kept")
    told = root.sh("find /var/spool/gflow/users -type f -printf '%u %m\n' | sort").stdout
    assert told == "gfa 400\ngfa 500\n"
    machine.start()
    assert not [text for text, level in findings(machine, "root").items() if level == "FAIL"]
    user.ctl("release", str(job))
    assert user.wait(job) == 0
    assert user.log(job) == b"ran as gfa with sesame\n"
    for words in (("stop", "--system"), ("reload", "--system")):
        assert user.refused(1, *words, program="gflowd").endswith("is not yours; root may do that")
    machine.stop()
