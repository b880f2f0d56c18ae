"""What is tried with the daemon for all users under the systemd of a booted root: the packages are installed there, ada
and bob share it, and cyd is an operator. Each trial says what it saw, or raises `Wrong`.
"""

from __future__ import annotations

import glob
import json
import os
import re
import shutil
from typing import TYPE_CHECKING, Any

from booted import Wrong, eventually
from try_packages import MAKE_NEXT, MAKE_NEXT_SYSTEM, NEXT

if TYPE_CHECKING:
    from collections.abc import Callable

    import roots
    from booted import Machine

ADA, BOB, CYD = "ada", "bob", "cyd"
NUMBERS = {ADA: 1001, BOB: 1002, CYD: 1003}
PLACE = "/var/packages"
# The least exposure that `systemd-analyze security` must find, in tenths.
EXPOSURE = {"gflow-gateway.service": 20, "gflowd.service": 55}
CONFIG = '[scheduler]\ncpus = 16\n[gpu]\nsimulate = "2x24G"\n[executor]\ngrace = 2\n'


def packages(place: str) -> list[str]:
    """Debian's of gflow in a directory. Raises `Wrong` if they were not built."""
    found = sorted(glob.glob(f"{place}/gflow_*_all.deb") + glob.glob(f"{place}/gflow-system_*_all.deb"))
    if len(found) != 2:
        raise Wrong(f"{place} has not the two packages; make them: make packages ARGS='--no-check deb'")
    return found


def prepare(root: roots.Root, debs: list[str]) -> None:
    """Puts packages and users into the root; nothing is installed yet."""
    os.makedirs(root.at(PLACE))
    for path in debs:
        shutil.copy(path, root.at(PLACE))
    for user, number in NUMBERS.items():
        root.add_user(user, number)
        os.chmod(root.at(f"/home/{user}"), 0o700)
    os.makedirs(root.at("/etc/gflow"), exist_ok=True)
    with open(root.at("/etc/gflow/gflow.toml"), "w", encoding="ascii") as file:
        file.write(CONFIG)


def version(machine: Machine) -> str:
    return machine.done("gflowctl", "--version").stdout.split()[-1]


def root_says(machine: Machine, line: str, status: int = 0) -> str:
    """What a line of root's prints."""
    done = machine.done("sh", "-c", f"{line} 2>&1")
    if done.returncode != status:
        raise Wrong(f"{line}: status {done.returncode}, not {status}\n{done.stdout[-3000:]}")
    return done.stdout


def state_of(machine: Machine, unit: str) -> str:
    return machine.done("systemctl", "is-active", unit).stdout.strip()


def main_pid(machine: Machine) -> str:
    return machine.done("systemctl", "show", "--value", "--property=MainPID", "gflowd").stdout.strip()


def job(machine: Machine, number: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = json.loads(root_says(machine, f"gflowctl queue --json {number}"))
    return found[0]


class Job:
    """A job that runs until it is told to end, and what the machine shows of it."""

    def __init__(self, machine: Machine, user: str, status: int, options: str = "") -> None:
        self.machine, self.user, self.status = machine, user, status
        line = f"echo $$ >>$GFLOW_JOB_ID.pid; until [ -e $GFLOW_JOB_ID.go ]; do sleep 0.2; done; exit {status}"
        self.id = machine.login(user, f"gflowctl submit --parsable --cpus 0 {options} -- sh -c '{line}'").split()[-1]
        eventually(f"job {self.id} ran", lambda: len(self.pids()) == 1, 60)
        (self.pid,) = self.pids()
        self.unit = f"gflow-job-{self.id}-1.service"

    def pids(self) -> list[str]:
        """Of its shell, one for each time that it was started."""
        path = self.machine.home(self.user, f"{self.id}.pid")
        if not os.path.exists(path):
            return []
        with open(path, encoding="ascii") as file:
            return file.read().split()

    def must_live(self) -> None:
        if not self.machine.alive(self.pid):
            raise Wrong(f"job {self.id} of {self.user} has ended")

    def let_end(self) -> None:
        with open(self.machine.home(self.user, f"{self.id}.go"), "w", encoding="ascii"):
            pass

    def must_end_well(self) -> None:
        """Having run once, with its own status."""
        self.let_end()
        self.machine.login(self.user, f"gflowctl wait {self.id}", status=self.status)
        if self.pids() != [self.pid]:
            raise Wrong(f"job {self.id} ran {len(self.pids())} times")


class Jobs:
    """One of each user, in tmux and without."""

    def __init__(self, machine: Machine, status: int) -> None:
        self.status = status
        self.all = [
            Job(machine, user, status, f"--executor {executor}")
            for user, executor in ((ADA, "tmux"), (BOB, "tmux"), (ADA, "process"), (BOB, "process"))
        ]

    def must_end_well(self) -> str:
        for each in self.all:
            each.must_live()
        for each in self.all:
            each.must_end_well()
        return f"{len(self.all)} jobs of two users lived and ended with their status, {self.status}"


# what is tried


def install(machine: Machine) -> str:
    root_says(machine, f"dpkg -i {PLACE}/*.deb")
    for unit in ("gflowd.service", "gflow-gateway.socket"):
        eventually(f"{unit} was active", lambda unit=unit: state_of(machine, unit) == "active", 30)  # type: ignore[misc]
        root_says(machine, f"systemctl is-enabled {unit}")
    complaints = root_says(machine, "systemd-analyze verify --man=no /usr/lib/systemd/system/gflow*.s[eol]*").strip()
    if complaints:
        raise Wrong(complaints)
    for unit, most in EXPOSURE.items():
        root_says(machine, f"systemd-analyze security --offline=true --threshold={most} {unit}")
    root_says(machine, f"gpasswd -a {CYD} gflow-admin")
    found = re.findall(
        r"exposure level for (\S+): ([\d.]+)",
        root_says(machine, f"for unit in {' '.join(EXPOSURE)}; do systemd-analyze security --offline=true $unit; done"),
    )
    return "both units active and enabled; exposure " + ", ".join(f"{unit} {level}" for unit, level in found)


def submitters(machine: Machine) -> str:
    """Each job is its submitter's: user, groups, login uid, unit, limits; nobody else touches it."""
    seen = []
    root_says(machine, "echo 'ada hard nofile 4321' >/etc/security/limits.d/ada.conf")
    for user, number in NUMBERS.items():
        line = "id -u; id -Gn; cat /proc/self/loginuid; echo; grep ^0: /proc/self/cgroup; ulimit -Hn; stat -c %a ~"
        machine.login(user, f"gflowctl submit --wait -- sh -c '({line}) >told'")
        with open(machine.home(user, "told"), encoding="ascii") as file:
            told = file.read()
        uid, groups, login, group, files, home = told.splitlines()
        if uid != str(number) or login != uid or home != "700" or user not in groups.split():
            raise Wrong(f"a job of {user} runs as {told}")
        if not re.search(r"/gflow\.slice/gflow-job-\d+-1\.service$", group):
            raise Wrong(f"it runs in {group}")
        seen.append(files)
    if seen[0] != "4321":
        raise Wrong(f"ada's limit of open files is {seen[0]}")
    ada = Job(machine, ADA, 0)
    theirs = root_says(machine, "find /var/lib/gflow /run/gflow ! -uid 0 -o ! -gid 0")
    if theirs or ada.id not in root_says(machine, f"cd /var/spool/gflow && find . -uid {NUMBERS[ADA]}"):
        raise Wrong(f"what users own among what is root's: {theirs}")
    theirs = "belongs to ada"
    for line, said in (
        (f"systemctl stop {ada.unit}", ""), (f"kill {ada.pid}", ""), (f"gflowctl cancel {ada.id}", theirs),
        (f"gflowctl log {ada.id}", theirs), (f"gflowctl attach {ada.id}", ""), (f"gflowctl top {ada.id}", ""),
        (f"gflowctl hold {ada.id}", ""), ("gflowctl drain", "operators"),
        ("gflowctl quota set --user bob --max-running-jobs 5", "operators"),
    ):  # fmt: skip
        told = machine.login(BOB, f"{line} 2>&1; test $? -ne 0")
        if said not in told:
            raise Wrong(f"{line} said to bob: {told}")
    ada.must_live()
    machine.login(CYD, f"gflowctl cancel {ada.id}")
    eventually("it was cancelled", lambda: job(machine, ada.id)["state"] == "cancelled", 30)
    if "cyd" not in machine.login(ADA, f"gflowctl show {ada.id}"):
        raise Wrong("show does not say who cancelled it")
    return (
        "user, groups, login uid, unit and limits.conf are the submitter's; bob was refused nine ways, cyd cancelled it"
    )


def sharing(machine: Machine) -> str:
    """Quotas, reservations and fair share hold between users."""
    machine.login(CYD, "gflowctl quota set --user ada --max-running-jobs 1")
    first = Job(machine, ADA, 0)
    second = machine.login(ADA, "gflowctl submit --parsable --cpus 0 -- true").split()[-1]
    bobs = Job(machine, BOB, 0)
    if (found := job(machine, second))["state"] != "queued" or "Quota" not in found["reason"]:
        raise Wrong(f"ada's second job is {found['state']} ({found['reason']})")
    first.must_end_well()
    machine.login(ADA, f"gflowctl wait {second}")
    bobs.must_end_well()
    machine.login(CYD, "gflowctl quota remove --user ada")
    told = machine.login(BOB, "gflowctl reserve create --user bob -g 1 --start now --for 1h 2>&1; test $? -ne 0")
    if "operators" not in told:
        raise Wrong(f"reserve said to bob: {told}")
    machine.login(CYD, "gflowctl reserve create --user bob -g 2 --start now --for 1h")
    waits = machine.login(ADA, "gflowctl submit --parsable -g 1 --cpus 0 -- true").split()[-1]
    may = machine.login(BOB, "gflowctl submit --parsable -g 2 --cpus 0 --time 1m -- true").split()[-1]
    machine.login(BOB, f"gflowctl wait --timeout 60s {may}")
    if (found := job(machine, waits))["state"] != "queued":
        raise Wrong(f"ada's job is {found['state']} beside bob's reservation of all GPUs")
    machine.login(CYD, "gflowctl reserve cancel 1")
    machine.login(ADA, f"gflowctl wait {waits}")
    # ada's share is used up: bob's job, which came later, runs before hers
    machine.login(ADA, "for n in 1 2 3; do gflowctl submit --wait -g 2 --cpus 0 -- sleep 2 || exit 1; done")
    holder = Job(machine, CYD, 0, "-g 2")
    line = "gflowctl submit --parsable -g 2 --cpus 0 --time 1m -- true"
    order = [machine.login(user, line).split()[-1] for user in (ADA, BOB)]
    holder.must_end_well()
    for user, number in zip((ADA, BOB), order, strict=True):
        machine.login(user, f"gflowctl wait {number}")
    begun = [job(machine, number)["started_at"] for number in order]
    share = "bob's later job began first" if begun[1] < begun[0] else "ada's earlier job began first"
    return f"a quota and a reservation for one user hold the other's jobs up and not theirs; {share}"


def down(machine: Machine) -> str:
    """Users submit, cancel and list while gflowd is stopped; what ends meanwhile is known later."""
    jobs, ends, unwanted = Jobs(machine, 21), Job(machine, ADA, 22), Job(machine, BOB, 0)
    before = main_pid(machine)
    root_says(machine, "systemctl stop gflowd")
    if machine.alive(before):
        raise Wrong("gflowd lives")
    ends.let_end()
    eventually(f"job {ends.id} ended", lambda: not machine.alive(ends.pid))
    later = machine.login(ADA, "gflowctl submit --parsable --cpus 0 -- sh -c 'exit 23' 2>/dev/null").split()[-1]
    machine.login(BOB, f"gflowctl cancel {unwanted.id} 2>&1")
    if later not in machine.login(BOB, "gflowctl queue --json 2>/dev/null"):
        raise Wrong("queue does not show the job that was submitted meanwhile")
    unwanted.must_live()
    root_says(machine, "systemctl start gflowd")
    machine.login(ADA, f"gflowctl wait {later}", status=23)
    machine.login(ADA, f"gflowctl wait {ends.id}", status=22)
    eventually(f"job {unwanted.id} was cancelled", lambda: not machine.alive(unwanted.pid), 60)
    return f"submission, cancellation and listing worked; {jobs.must_end_well()}"


def kill(machine: Machine) -> str:
    jobs, before = Jobs(machine, 24), main_pid(machine)
    machine.kill("KILL", before)
    took = eventually("gflowd was back", lambda: main_pid(machine) not in {"0", before}, 60)
    return f"another process after {took:.0f} s, by systemd; {jobs.must_end_well()}"


def restart(machine: Machine) -> str:
    jobs, before = Jobs(machine, 25), main_pid(machine)
    root_says(machine, "systemctl restart gflowd && systemctl reload gflowd")
    if main_pid(machine) == before:
        raise Wrong("it is the same process")
    return jobs.must_end_well()


def gateway_dies(machine: Machine) -> str:
    """The next request starts another."""
    pids = []
    for _ in range(5):
        machine.login(ADA, "gflowctl submit --hold --parsable --name kept -- true")
        done = machine.done("systemctl", "kill", "--signal=KILL", "gflow-gateway.service")
        pids.append(done.returncode)
    found = json.loads(machine.login(ADA, "gflowctl queue --json --names kept"))
    if len(found) != 5:
        raise Wrong(f"{len(found)} of 5 jobs are there")
    machine.login(ADA, "gflowctl cancel --all")
    return "five submissions, kill -9 after each: all there"


def limit_without_daemon(machine: Machine) -> str:
    """It is ended when gflowd is back."""
    late = Job(machine, BOB, 0, "--time 5s")
    root_says(machine, "systemctl stop gflowd; sleep 6")
    late.must_live()
    root_says(machine, "systemctl start gflowd")
    took = eventually(f"job {late.id} was ended", lambda: not machine.alive(late.pid), 60)
    eventually("its end was known", lambda: job(machine, late.id)["state"] not in {"running", "queued"}, 60)
    found = job(machine, late.id)
    return f"ended {took:.0f} s after the start, and shown as {found['state']} ({found['reason']})"


def upgrade(machine: Machine) -> str:
    """To packages whose modules no older gflowd can import."""
    jobs, before = Jobs(machine, 26), main_pid(machine)
    root_says(machine, f"mkdir {PLACE}/next")
    for name in ("gflow", "gflow-system"):
        script = MAKE_NEXT if name == "gflow" else MAKE_NEXT_SYSTEM
        done = machine.done(
            "bash", "-c", script, *glob_inside(machine, f"{PLACE}/{name}_*.deb"), f"{PLACE}/next/{name}.deb"
        )
        if done.returncode:
            raise Wrong(done.stdout + done.stderr)
    root_says(machine, f"dpkg -i {PLACE}/next/*.deb")
    eventually("another gflowd ran", lambda: main_pid(machine) not in {"0", before}, 60)
    if version(machine) != NEXT:
        raise Wrong(f"the version is {version(machine)}")
    machine.login(BOB, "gflowctl submit --wait -- true")
    return f"gflowd {NEXT} runs; {jobs.must_end_well()}"


def glob_inside(machine: Machine, pattern: str) -> list[str]:
    """The paths that there are in the root."""
    found = glob.glob(machine.root.at(pattern))
    return [path.removeprefix(machine.root.path) for path in found]


def expired(machine: Machine) -> str:
    root_says(machine, f"chage --expiredate 1 {BOB}")
    number = root_says(machine, f"runuser -u {BOB} -- gflowctl submit --parsable --cpus 0 -- true").split()[-1]
    eventually("it had failed", lambda: job(machine, number)["state"] == "failed", 60)
    found = job(machine, number)
    root_says(machine, f"chage --expiredate -1 {BOB}")
    if not found["reason"].startswith("LaunchFailed"):
        raise Wrong(f"it is {found['state']} ({found['reason']})")
    return "the job is not started, and LaunchFailed"


def removal(machine: Machine) -> str:
    """Jobs live on; a purge leaves nothing but the homes."""
    ada = Job(machine, ADA, 0)
    root_says(machine, "dpkg -r gflow-system")
    ada.must_live()
    for unit in ("gflowd.service", "gflow-gateway.socket", "gflow-gateway.service"):
        if state_of(machine, unit) == "active":
            raise Wrong(f"{unit} is still active")
    ada.let_end()
    eventually("the job ended", lambda: not machine.alive(ada.pid), 60)
    root_says(machine, "dpkg -P gflow-system gflow; rm -r /etc/gflow")
    left = root_says(machine, f"find / -xdev -path {PLACE} -prune -o -path /proc -prune -o -name '*gflow*' -print")
    left = "\n".join(line for line in left.splitlines() if not line.startswith(("/home/", "/var/lib/dpkg/", "/sys/")))
    if left:
        raise Wrong(f"left: {left}")
    return "the job lived to its end; purged, nothing of gflow is left outside of the homes"


TRIALS: tuple[tuple[str, str, Callable[[Machine], str]], ...] = (
    ("`dpkg -i gflow gflow-system`", "the service runs", install),
    ("jobs of three users", "each is its submitter's alone", submitters),
    ("quota, reservation, fair share", "they hold between users", sharing),
    ("gflowd stopped, submissions and cancellations meanwhile, start", "nothing is lost; jobs live", down),
    ("kill -9 of gflowd", "systemd starts it again; jobs live", kill),
    ("`systemctl restart gflowd`, `reload`", "jobs live", restart),
    ("kill -9 of the gateway", "nothing is lost", gateway_dies),
    ("a time limit while gflowd is stopped", "the job is ended when gflowd is back", limit_without_daemon),
    ("an account that has expired", "its job is not started", expired),
    ("upgrade of both packages", "gflowd is the new one; jobs live", upgrade),
    ("removal, purge", "jobs live; nothing is left", removal),
)
