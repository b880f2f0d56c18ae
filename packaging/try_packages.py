#!/usr/bin/env python3
"""Tries the packages in dist/ in clean roots of Debian trixie, and prints a table of what was seen.

Debian's is installed by apt from nothing; then a first job, the demo, an upgrade and a removal while a job runs, and a
purge. Those for Fedora and Arch are unpacked by rpm and pacman into roots of their own, as far as that goes on Debian.
"""

from __future__ import annotations

import argparse
import functools
import glob
import json
import os
import re
import shutil
import sys
import time
from typing import TYPE_CHECKING

import make_packages as build
import roots

if TYPE_CHECKING:
    from collections.abc import Callable

USER, NUMBER = "ada", 1001
NEXT = "9.9.9"  # the version that is upgraded to
# Makes $1, a package of the next version, of $0. A module of it that an older gflowd imports raises AttributeError.
MAKE_NEXT = f"""
set -e
dpkg-deb -R "$0" /var/tmp/next
cd /var/tmp/next
sed -i 's/^Version: .*/Version: {NEXT}-1/' DEBIAN/control
find usr/lib/python3/dist-packages -name '*.py' ! -path '*/gflowd/__init__.py' |
    while read -r file; do printf '\\nimport gflowd as _gflowd\\n_gflowd.NEXT\\n' >>"$file"; done
sed -i 's/^__version__ = .*/__version__ = "{NEXT}"\\nNEXT = True/' usr/lib/python3/dist-packages/gflowd/__init__.py
(find usr -type f -print0 | xargs -0 md5sum) >DEBIAN/md5sums
dpkg-deb --root-owner-group -b . "$1"
cd /
rm -r /var/tmp/next
"""
# Makes $1, gflow-system of the next version, of $0: it wants gflow of its own version.
MAKE_NEXT_SYSTEM = f"""
set -e
dpkg-deb -R "$0" /var/tmp/next
sed -i 's/^Version: .*/Version: {NEXT}-1/; s/ gflow (= [^)]*)/ gflow (= {NEXT}-1)/' /var/tmp/next/DEBIAN/control
dpkg-deb --root-owner-group -b /var/tmp/next "$1"
rm -r /var/tmp/next
"""
PATIENCE = 60.0  # seconds
PACMAN = (
    "mkdir -p /arch/var/lib/pacman && echo '[options]' >/a.conf && pacman --config /a.conf --root /arch --noconfirm"
)
ENABLED = "/etc/systemd/system/multi-user.target.wants/gflowd@ada.service"
# Other distributions' packages: how they are called, and how they are installed below /rpm or /arch. A configuration of
# pacman's without options asks for no look at the free space.
OTHERS = {
    "rpm": ("*.noarch.rpm", "mkdir /rpm && rpm --root /rpm --nodeps --noscripts -i {}"),
    "arch": ("*.pkg.tar*", f"{PACMAN} --nodeps --nodeps -U {{}}"),
}


class Wrong(Exception):
    """A package does not do what it must, and what it did instead."""


class Trial:
    """The checks, in one root after another; `rows` is the table."""

    def __init__(self, root: roots.Root) -> None:
        self.root = root
        self.home = root.add_user(USER, NUMBER)
        self.version = ""

    def sudo(self, line: str) -> str:
        return self.root.run(line)

    def user(self, line: str, status: int = 0) -> str:
        """What a line of the user's shell prints; it must end with `status`."""
        done = self.root.done(f"cd; {line}", user=NUMBER, home=self.home)
        if done.returncode != status:
            raise Wrong(f"{line}: status {done.returncode}, not {status}\n{done.stdout[-4000:]}")
        return done.stdout

    def status(self) -> dict[str, object]:
        found: dict[str, object] = json.loads(self.user("gflowd status --json"))
        return found

    def submit(self, line: str) -> str:
        return self.user(f"gflowctl submit -- sh -c '{line}'").split()[-1]

    def alive(self, pid: object) -> bool:
        return self.root.done(["kill", "-0", str(pid)]).returncode == 0

    def eventually(self, what: str, fits: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not fits():
            if time.monotonic() > deadline:
                raise Wrong(f"waited {PATIENCE:.0f} s in vain until {what}")
            time.sleep(0.1)

    # what is tried

    def install(self) -> str:
        self.sudo("apt-get update -qq")
        self.before = self.files()
        said = self.sudo("apt-get install -qq -y --no-install-recommends /packages/gflow_*.deb tmux procps 2>&1")
        if wrong := [line for line in said.splitlines() if line.startswith(("E:", "W:")) and "_apt" not in line]:
            raise Wrong("\n".join(wrong))
        first = self.sudo("head -qn1 /usr/bin/gflowctl /usr/bin/gflowd").splitlines()
        if {line.replace("#! ", "#!") for line in first} != {"#!/usr/bin/python3 -I"}:
            raise Wrong(f"the programs begin with {first}")
        self.sudo("test -e /usr/share/man/man1/gflowctl-submit.1.gz && test -x /usr/lib/gflow/slurm/bin/scontrol")
        self.version = self.user("gflowctl --version").split()[-1]
        return f"gflow {self.version}, {self.user('python3 --version').strip()}"

    def first_job(self) -> str:
        self.user("gflowd start")
        self.user("gflowctl submit --wait -- echo hello")
        if (said := self.user("gflowctl log 1")) != "hello\n":
            raise Wrong(f"its log is {said!r}")
        return "hello"

    def doctor(self) -> str:
        said = self.user("gflowctl doctor").splitlines()
        wrong = [line for line in said if not line.startswith("ok ")]
        return f"{len(said) - len(wrong)} lines say ok" + "".join(f"; {line}" for line in wrong)

    def completions(self) -> str:
        line = ". /usr/share/bash-completion/completions/gflowctl; complete -p gflowctl"
        return self.user(f"bash -c '{line}'").strip()

    def slurm(self) -> str:
        return self.user("PATH=/usr/lib/gflow/slurm/bin:$PATH scontrol --version").strip()

    def demo(self) -> str:
        return self.user("python3 /usr/share/doc/gflow/examples/demo.py").splitlines()[-1]

    def upgrade(self) -> str:
        """A job runs on, the old daemon starts another, a worker of it that is killed comes back."""
        job = self.submit("until [ -e go ]; do sleep 0.1; done; exit 5")
        self.user(f"gflowctl wait --for running {job}")
        before = self.status()
        deb = self.sudo("ls /packages/gflow_*.deb").strip()
        self.root.run(["sh", "-c", MAKE_NEXT, deb, "/packages/next.deb"])
        self.sudo("apt-get install -qq -y /packages/next.deb 2>&1")
        after = self.status()
        if (after["pid"], after["version"], after["installed"]) != (before["pid"], self.version, NEXT):
            raise Wrong(f"status is {after}")
        told = self.user("gflowd status")
        if f"{NEXT} is installed; gflowd restart completes the upgrade" not in told:
            raise Wrong(f"status says {told}")
        self._kill_workers(after)
        self.user("gflowctl submit --wait -- true")
        log = self.user("cat ~/.local/state/gflow/log/gflowd.log")
        if "NEXT" in log:
            raise Wrong(f"the old daemon imported new modules:\n{log[-3000:]}")
        if self.status()["pid"] != before["pid"]:
            raise Wrong("the daemon is another")
        self.user("gflowd restart")
        if self.status()["version"] != NEXT:
            raise Wrong(f"after the restart, status is {self.status()}")
        if "RUNNING" not in self.user(f"gflowctl show {job}").upper():
            raise Wrong("the job does not run any more")
        self.user("touch go")
        self.user(f"gflowctl wait {job}", status=5)
        self.user("rm go")
        return "the job ended with its status, 5; " + next(
            re.sub(" +", " ", line) for line in told.splitlines() if "installed" in line
        )

    def _kill_workers(self, status: dict[str, object]) -> None:
        workers = {each["name"]: each["pid"] for each in status["workers"]}  # type: ignore[attr-defined]
        for pid in workers.values():
            self.sudo(f"kill -9 {pid} || true")  # one may end with another

        def back() -> bool:
            now = {each["name"]: each["pid"] for each in self.status()["workers"]}  # type: ignore[attr-defined]
            return all(now.get(name) not in {None, pid} for name, pid in workers.items())

        self.eventually("each killed worker was back", back)

    def removal(self) -> str:
        """The job and the daemon go on without their package; the job's status is there when it is installed again."""
        job = self.submit("until [ -e go ]; do sleep 0.1; done; exit 6")
        self.user(f"gflowctl wait --for running {job}")
        pid = self.status()["pid"]
        self.sudo("apt-get remove -qq -y gflow 2>&1")
        if self.root.done("command -v gflowctl").returncode == 0:
            raise Wrong("gflowctl is still there")
        if not self.alive(pid):
            raise Wrong("the daemon has ended")
        self.user("touch go")
        self.eventually(
            "the daemon recorded the end of the job",
            lambda: '"exit_code":6' in self.user("cat ~/.local/state/gflow/snapshot.jsonl").replace(" ", ""),
        )
        if not self.alive(pid):
            raise Wrong("the daemon has ended")
        self.sudo("apt-get install -qq -y /packages/next.deb 2>&1")
        self.user(f"gflowctl wait {job}", status=6)
        self.user("rm go")
        return "the job ended with its status, 6, and the daemon recorded it"

    def system_package(self) -> str:
        """Installed, where no systemd runs, so that nothing can be started."""
        deb = self.sudo("ls /packages/gflow-system_*.deb").strip()
        self.root.run(["sh", "-c", MAKE_NEXT_SYSTEM, deb, "/packages/next-system.deb"])
        self.sudo("apt-get update -qq; apt-get install -qq -y --no-install-recommends /packages/next-system.deb 2>&1")
        places = "/var/lib/gflow /var/spool/gflow /var/spool/gflow/jobs /var/spool/gflow/users"
        told = self.sudo(f"stat -c '%n %a %U:%G' {places}").splitlines()
        if wrong := [line for line in told if not line.endswith(" 711 root:root")]:
            raise Wrong(f"it made {wrong}")
        wants = self.sudo("cd /etc/systemd/system; ls *.wants | grep gflow").split()
        if wants != ["gflowd.service", "gflow-gateway.socket"]:
            raise Wrong(f"enabled are {wants}")
        self.sudo("getent group gflow-admin; test -f /etc/pam.d/gflow")
        self.sudo("systemd-analyze verify --man=no /usr/lib/systemd/system/gflow*.s[eol]* 2>&1")
        return "units enabled, group and directories made; systemd-analyze verify is content"

    def purge(self) -> str:
        self.user("gflowd stop")
        self.sudo(f"mkdir -p {os.path.dirname(ENABLED)}; ln -s /usr/lib/systemd/system/gflowd@.service {ENABLED}")
        self.sudo("apt-get purge -qq -y --autoremove gflow gflow-system tmux procps 2>&1")
        left = [path for path in sorted(self.files() - self.before) if "gflow" in path]
        if left:
            raise Wrong(f"left: {left}")
        others = [path for path in sorted(self.files() - self.before) if not path.startswith(("/var/", "/etc/"))]
        kept = self.user("ls ~/.local/state/gflow").split()
        return (
            f"no file of gflow outside the homes (of other packages: {len(others)}); the user's state is kept: "
            + str("snapshot.jsonl" in kept)
        )

    def files(self) -> set[str]:
        """All there are outside of the homes."""
        said = self.sudo(
            "find / -xdev ( -path /home -o -path /packages -o -path /tmp ) -prune -o -print".replace(
                "(", r"\("
            ).replace(")", r"\)")
        )
        return set(said.splitlines())

    CHECKS = (
        ("apt install ./gflow_*.deb", install),
        ("gflowd start; gflowctl submit --wait -- echo hello", first_job),
        ("gflowctl doctor", doctor),
        ("completions of bash", completions),
        ("Slurm's programs", slurm),
        ("the demo", demo),
        ("upgrade while a job runs", upgrade),
        ("removal while a job runs", removal),
        ("gflow-system", system_package),
        ("purge", purge),
    )


def elsewhere(root: roots.Root, line: str, where: str) -> str:
    """Installs the packages for another distribution below `where`, and starts what they have."""
    root.run(line)
    for name in (
        "share/man/man1/gflowctl-submit.1.gz",
        *(f"lib/systemd/{one}/gflowd.service" for one in ("user", "system")),
    ):
        root.run(["test", "-e", f"{where}/usr/{name}"])
    paths = [path for pattern in ("dist-packages", "site-packages") for path in
             glob.glob(f"{root.at(where)}/usr/lib/python3*/{pattern}")]  # fmt: skip
    inside = ":".join("/" + os.path.relpath(path, root.path) for path in paths)
    said = root.run(f"PYTHONPATH={inside} python3 {where}/usr/bin/gflowctl --version; "
                    f"PYTHONPATH={inside} python3 {where}/usr/bin/gflowd --version")  # fmt: skip
    files = root.run(f"find {where}/usr -type f | wc -l").strip()
    return f"{files} files; {', '.join(said.splitlines())}"


def main() -> int:
    """0 when all is well."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packages", default=os.path.join(build.TOP, "dist"), help="their directory (default: dist)")
    args = parser.parse_args()
    roots.clean_up_when_ended()
    if why := roots.obstacle():
        print(f"the packages cannot be tried here: {why}")
        return 1
    rows: list[tuple[str, str, str]] = []
    debs = glob.glob(os.path.join(args.packages, "gflow*_*.deb"))
    if len(debs) != 2:
        print(f"{args.packages} holds {len(debs)} packages for Debian, not 2; make packages builds them")
        return 1
    tar = roots.archive(os.path.join(build.CACHE, "clean.tar"), ())
    with roots.unpacked(tar, build.CACHE, network=True) as root:
        os.mkdir(root.at("packages"))
        for path in debs:
            shutil.copy(path, root.at("packages"))
        trial = Trial(root)
        for name, check in trial.CHECKS:
            if not tried(rows, name, functools.partial(check, trial)):
                break
    with roots.unpacked(roots.archive(os.path.join(build.CACHE, "build.tar"), build.NEEDED), build.CACHE) as root:
        os.mkdir(root.at("packages"))
        for kind, (pattern, line) in OTHERS.items():
            if paths := glob.glob(os.path.join(args.packages, pattern)):
                for path in paths:
                    shutil.copy(path, root.at("packages"))
                order = line.format(" ".join(f"/packages/{os.path.basename(path)}" for path in paths))
                tried(rows, f"{kind}: installed in a root", functools.partial(elsewhere, root, order, f"/{kind}"))
    print()
    width = max(len(name) for name, *_ in rows)
    for name, verdict, told in rows:
        print(f"{name:<{width}}  {verdict:<9}  {told}")
    return 1 if any(verdict.startswith("FAILED") for _, verdict, _ in rows) else 0


def tried(rows: list[tuple[str, str, str]], name: str, check: Callable[[], str]) -> bool:
    """Runs one check and adds its row; False if it failed."""
    began = time.monotonic()
    try:
        told = check()
    except (Wrong, roots.Failed, ValueError) as why:
        print(f"{name}: {why}", flush=True)
        rows.append((name, "FAILED", "see above"))
        return False
    rows.append((name, f"ok {time.monotonic() - began:4.0f} s", told))
    print(f"{name}: ok", flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main())
