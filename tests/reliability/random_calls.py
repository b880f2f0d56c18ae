"""Random calls of gflowctl: every command and every option that its parsers know, with values real and senseless.

python tests/reliability/random_calls.py --calls 6800 --seed 1

No call may show a traceback or an internal error, hang, or end with a status that is not documented. Calls share a
queue for a while, so that they meet what earlier ones left; half of the queues also hold records that make no sense.
There is no daemon: what it would write is played. What fails can be repeated by its seed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import stat
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent.parent), str(HERE), str(HERE.parent)]

from support.ctl import Ctl, private_ctl  # noqa: E402 -- found by the line above
from support.forked import NURSERY  # noqa: E402

from gflowctl import main as gflowctl  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

DATA = HERE.parent / "data"
DEVICES = {"zeros": os.makedev(1, 5), "full": os.makedev(1, 7)}  # not those in /dev, which a fault might replace
TOGETHER = 100  # calls on one queue
STATUSES = {0, 1, 2, 3, 75}
PATIENCE = 60.0  # seconds within which every command ends
GLIMPSE = 1.0  # seconds for one that was asked to wait
WAITING = ("--wait", "--follow", "--watch", "-w", "-f")  # no job ever ends here
LASTING = {"a", "attach", "mcp", "run", "top", "wait", "web"}  # commands that last until somebody ends them
NULL = ("--help", "-h", "--version")

COUNTS = ["0", "1", "2", "7", "100", "-1", "-5", "1.5", "1e3", "255", "256", "65536", "9" * 18, "9" * 40, "0x10",
          "\u0663"]  # fmt: skip
DURATIONS = ["90s", "30m", "2h", "1h30m", "1d", "5", "1:30", "0:0:1", "2-0", "2-3:4:5", "0", "-1s", "1e400s", "5y",
             "x3"]  # fmt: skip
INSTANTS = ["12:30", "25:61", "2026-11-27", "2026-11-27T12:00:00Z", "now+2h", "now", "tomorrow 9:00", "now-1h", "now+",
            "0001-01-01", "9999-12-31T23:59:59+14:00", "2026-02-30", "today", "10 days ago", "yesterday"]  # fmt: skip
SIZES = ["512", "800M", "24G", "1.5T", "0", "-1G", "1e30G", "24 GB", "G", "1K", ".5g"]
JOBS = ["1", "2", "1,3,5-7", "@", "@~2", "@~99", "42_3", "1_[1-5]", "4_[1,3]", "4_1", "99", "5-1", "0", "-3", "1-",
        "1-999999999999", "@~-1", "_", "1_", "[1-3]", "1_[1-", "1,,2", "all", "1-3,2-4", "9" * 30]  # fmt: skip
FRACTIONS = ["0.4", "40%", "4/10", "1", "0", "4/0", "101%", "-0.1", "nan", "1e9", ".", "/", "%"]
EVENTS = ["job_ended", "job_started,gpu", "reservation", "ended", ""]
STATES = ["queued", "running", "failed,finished", "PD", "R,CD", "all", "zombie", "", ","]
NAMES = ["train", "job", "a,b", "ada", "root", "gfa", "nobody", "0", "*", "[", "user:gfa", "gpus", "x y"]
FIELDS = ["JOBID,NAME", "STATE", "jobid", "-TIME", "NODELIST(REASON)", "nonsense", "priority,-submit", "COMMAND,", ",,"]
DEPENDENCIES = ["afterok:1", "afterany:1:2", "afterok:1?afternotok:2", "singleton", "after:1+5", "aftercorr:4",
                "afterok:", "whenever:1", "afterok:1,afterany:@", "1", "@", "afterok:1_2"]  # fmt: skip
ARRAYS = ["1-4", "0-20:5", "1,4,9", "1-4%2", "1-4%0", "4-1", "1-3:0", "1-100000000", "%2", "1-4,2-5", "-1-3"]
FILES = ["job.sh", "sweep.csv", "jobs.jsonl", "empty", "binary", "folder", "loop", "missing", "folder/deep/x", "-",
         "kept.tar.gz", "gflow.toml", "bad.toml", "zeros", "full", "/proc/self/mem", "~/job.sh", "%j-%x.log",
         "out/%A_%a.txt", "."]  # fmt: skip
ADDRESSES = ["127.0.0.1:0", "[::1]:0", "localhost:0", "unix:web.sock", "unix:", "unix:/", "127.0.0.1:1", ":0", "x:0",
             "127.0.0.1", "127.0.0.1:65536", "日本語:0", "a..b:0", f"{'h' * 70}:0", "unix:" + "p" * 200]  # fmt: skip
MAILS = ["ada@example.org", "ada,bob", "a@b@c", "-f@x", "ada@\nBcc: eve"]
URLS = [
    "http://127.0.0.1:1/x",
    "https://",
    "http://[::1]:1",
    "nonsense://x",
    "json://127.0.0.1:1",
    "a:b",
    "https://a b",
]
OTHERS = ["gpu:2", "gpu:h100:1", "0,2", "0-3", "all", "USR1@10", "B:TERM@60", "KILL", "SIGRTMIN+3", "99", "HUP@", "@5",
          "failure,timeout", "oom,3", "30sx2", "a=1,2", "x=0:1:0.1", "x=", "=1", "x=1:0:1", "{a}-{index}", "{zzz}", "{",
          "ALL", "NONE", "A=1,B", "ALL,LIST='a,b'", "=", "ada@example.org", "begin,end", "fail", "none", "bash", "zsh",
          "fish", "daily", "weekly", "always", "never", "auto", "tmux", "process", "sequential", "gpu.allow", "time",
          "gpus,time", "1h", "day", "user", "json", "H100", "geforce_rtx_4090", "UTC", "Europe/Berlin"]  # fmt: skip
ODD = ["", " ", "\t", "\n", "\r\n", "a\nb", "-", "--", "---", "-x", "--no-such", "=", "''", '"', "\\", "$(true)", "`",
       ";", "a b", "é", "日本語", "\u202e", "\U0001f600", "e\u0301", "\x1b[31m", "\x7f", "\udcff", "a\udc80b",
       "%", "%s", "%n", "{0}", "{}", "*", "?", "[", "]", "~", "~root", "..", "../../x", "/", "//", "nan", "inf",
       "-inf", "None", "null", "true", "[]", "1_000", "1" * 300, "x" * 5000, "日" * 300, "a/" * 600, "-" * 70,
       "0" * 400]  # fmt: skip
HUGE = ["y" * 130_000, "1," * 40_000 + "1"]  # one word of a command holds at most 131,071 bytes
FITTING = {
    "DUR": DURATIONS, "INSTANT": INSTANTS, "MEM": SIZES, "JOBS": JOBS, "JOB": JOBS, "N": COUNTS, "STATE": STATES,
    "USER": NAMES, "NAME": NAMES, "FIELDS": FIELDS, "FIELD": FIELDS, "FILE": FILES, "DIR": FILES, "CSV": FILES,
    "PATTERN": FILES, "LIST": [*JOBS, *OTHERS], "ID": [*COUNTS, "1-1", "0-0"], "P": COUNTS, "S": COUNTS,
    "0-255": COUNTS, "GROUP": JOBS, "KIND": EVENTS, "FRACTION": FRACTIONS,
    "ADDRESS": ADDRESSES, "HOST": NAMES, "ADDR": MAILS, "URL": URLS, "ADDR|URL": [*MAILS, *URLS],
}  # fmt: skip
DEST = {"array": ARRAYS, "depends_on": DEPENDENCIES, "begin": INSTANTS, "start": INSTANTS, "since": INSTANTS}
EVERY = [*COUNTS, *DURATIONS, *INSTANTS, *SIZES, *JOBS, *STATES, *NAMES, *FIELDS, *DEPENDENCIES, *ARRAYS, *FILES,
         *FRACTIONS, *OTHERS]  # fmt: skip


@dataclass
class Tally:
    """What came of the calls."""

    calls: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    commands: Counter[str] = field(default_factory=Counter)
    options: set[tuple[str, str]] = field(default_factory=set)
    cut_short: int = 0
    slowest: float = 0.0
    faults: list[str] = field(default_factory=list)


class Caller:
    """Makes up calls. The same seed makes the same calls."""

    def __init__(self, seed: int, heads: Path) -> None:
        self.options: set[tuple[str, str]] = set()  # that were given, by command
        self.random = random.Random(seed)
        self.sense = 1.0  # the share of values that fit
        self.heads = [json.loads(line)["head"] for line in heads.read_text().splitlines()]
        self.parsers = {name: _leaves(gflowctl.parser(name), [name]) for name in gflowctl.COMMANDS}

    def words(self) -> tuple[str, list[str]]:
        """The command, and the whole of its command line."""
        some = self.random
        self.sense = some.choice([0.5, 0.9, 1.0])
        name = some.choice([*gflowctl.COMMANDS])
        aliases = gflowctl.COMMANDS[name][1]
        before: list[str] = []
        if some.random() < 0.03:
            before = some.choice([["--color", "always"], ["--config", self.value("FILE", None)], ["--no-such"],
                                  ["help"], ["__complete"], ["--state-dir", "other"]])  # fmt: skip
        path, parser = some.choice(self.parsers[name])
        typed = [some.choice([name, *aliases]), *path[1:]]
        if some.random() < 0.02:
            typed[some.randrange(len(typed))] = self.odd()
        parts = [part for _ in range(some.choice([0, 1, 1, 2, 2, 3, 5, 9])) for part in [self.option(name, parser)]]
        parts += [[self.value(_metavar(action), action.choices, action.dest)] for action in self.operands(parser)]
        some.shuffle(parts)
        if name == "submit" and some.random() < 0.5:
            parts.append(some.choice([["--", "true"], ["true"], ["--wrap", "echo $GFLOW_JOB_ID"], ["job.sh", "a b"]]))
        words = [*before, *typed, *(word for part in parts for word in part)]
        if name == "wait":
            words[len(before) + 1 : len(before) + 1] = ["--timeout", "0s"]
        return name, words

    def option(self, name: str, parser: argparse.ArgumentParser) -> list[str]:
        """One option of a command, in one of its spellings."""
        known = [action for action in parser._actions if action.option_strings]
        action = self.random.choice(known)
        spelling = self.random.choice(action.option_strings)
        if spelling in (*NULL, *WAITING) and self.random.random() < 0.8:
            return []
        self.options.add((name, action.option_strings[-1]))
        if action.nargs == 0:
            return [spelling]
        value = self.value(_metavar(action), action.choices, action.dest)
        return (
            [f"{spelling}={value}"] if spelling.startswith("--") and self.random.random() < 0.5 else [spelling, value]
        )

    def operands(self, parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
        """The positional arguments, each as often as somebody may give it."""
        for action in parser._actions:
            if not action.option_strings and not isinstance(action, argparse._SubParsersAction):
                for _ in range(self.random.choice([0, 1, 1, 1, 1, 2] if action.nargs else [0, *[1] * 9])):
                    yield action

    def value(self, metavar: str, choices: Any, dest: str = "") -> str:
        """A value that fits, one that is meant for another option, or one that nobody means."""
        kind = self.random.random()
        if kind < self.sense:
            fitting = list(map(str, choices)) if choices else DEST.get(dest) or FITTING.get(metavar) or EVERY
            return self.random.choice(fitting)
        return self.random.choice(EVERY) if kind < (1 + self.sense) / 2 else self.odd()

    def odd(self) -> str:
        """What nobody means."""
        if self.random.random() < 0.01:
            return self.random.choice(HUGE)
        if self.random.random() < 0.3:
            return self.random.choice(ODD) + self.random.choice(EVERY)
        return self.random.choice(ODD)

    def stdin(self) -> bytes | None:
        """What is on standard input; None: nothing is."""
        kind = self.random.random()
        if kind < 0.7:
            return None
        if kind < 0.8:
            return self.script()
        if kind < 0.9:
            return self.lines()
        return self.random.randbytes(self.random.choice([0, 1, 100, 10_000]))

    def script(self) -> bytes:
        """One with a real head; a line of it may be something else."""
        lines = self.random.choice(self.heads).splitlines()
        if self.random.random() < 0.3:
            lines[self.random.randrange(len(lines))] = self.random.choice(["#SBATCH ", "# GFLOW --"]) + self.odd()
        return os.fsencode("\n".join([*lines, "echo done", ""]))

    def lines(self) -> bytes:
        """Of JSON, for `submit --from`."""
        made = []
        for _ in range(self.random.randrange(4)):
            names = ["command", "gpus", "time", "name", "wrap", "array", "depends_on", "env", "param", self.odd()]
            some = self.random.sample(names, 3)
            values: list[Any] = [self.odd(), ["true"], 1, -5, None, True, {"a": 1}, 1e300, [[]]]
            made.append(json.dumps({name: self.random.choice(values) for name in some}))
        return "\n".join(made).encode()


def _leaves(parser: argparse.ArgumentParser, path: list[str]) -> list[tuple[list[str], argparse.ArgumentParser]]:
    """The parsers of a command that have no further ones below, each with its words."""
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    found = [leaf for action in below for word, each in action.choices.items() for leaf in _leaves(each, [*path, word])]
    return [(path, parser), *found]


def _metavar(action: argparse.Action) -> str:
    return action.metavar.split(",")[0].split("[")[0] if isinstance(action.metavar, str) else ""


def furnish(ctl: Ctl, caller: Caller, *, senseless: bool) -> None:
    """Jobs in every phase, a history, GPUs, files with what people have in them."""
    home = ctl.home
    (home / "job.sh").write_bytes(caller.script())
    (home / "job.sh").chmod(0o755)
    (home / "sweep.csv").write_text("lr,batch\n0.1,8\n0.2,16\n")
    (home / "jobs.jsonl").write_bytes(caller.lines())
    (home / "empty").touch()
    (home / "binary").write_bytes(caller.random.randbytes(1000))
    (home / "folder").mkdir()
    (home / "loop").symlink_to("loop")
    (home / "gflow.toml").write_text("[gpu]\nallocation = 'topology'\n")
    (home / "bad.toml").write_text("[gpu\n")
    for name, device in DEVICES.items():
        try:
            os.mknod(home / name, 0o600 | stat.S_IFCHR, device)
        except PermissionError:  # of an ordinary user
            (home / name).touch()
    for words in (["true"], ["--hold", "true"], ["-g", "1", "-n", "train", "true"], ["-a", "1-4", "true"],
                  ["-d", "afterok:1", "true"], ["--param", "x=1,2", "echo", "{x}"]):  # fmt: skip
        ctl.ok("submit", "--executor", "process", *words)
    ctl.end_job(1)
    ctl.archive(1)
    ctl.run_job(3, gpu_ids=(0,)).write_bytes(b"a line\n\xff\x1b[31mcolour\n")
    ctl.end_job(4, "failed", exit_code=3)
    gpu = {"uuid": "GPU-0", "model": "NVIDIA H100 80GB HBM3", "memory_mb": 81559, "state": "busy", "jobs": [3]}
    ctl.observe(gpus=[{"index": 0, **gpu}], reasons={"2": "Held"})
    ctl.ok("quota", "set", "--default-user", "--max-running-jobs", "3")
    ctl.ok("reserve", "create", "--start", "now+1h", "--for", "1h", "--gpus", "1")
    if senseless:
        for record in map(json.loads, (DATA / "senseless-records.jsonl").read_text().splitlines()):
            with ctl.store.commit() as commit:
                key = commit.allocate() if record["id"] is None else record["id"]
                commit.put(record["kind"], key, record["value"])


def judge(words: list[str], status: int, out: bytes, err: bytes) -> str | None:
    """What is wrong with how a call ended; None: nothing is."""
    if b"Traceback" in out + err or b"internal error" in out + err or b"Exception ignored" in err:
        return "shows where it broke"
    ends_as_a_job = {"run", "wait", "--wait"} & {*words}
    if status < 0 or (status not in STATUSES and not ends_as_a_job):
        return f"ends with {status}"
    if status != 0 and not err and words[0] != "__complete" and not {"doctor", "notify", "wait"} & {*words}:
        return "fails without a word"
    if status in (1, 3) and err.count(b"\n") > 1 and err.startswith(b"gflowctl: ") and not out:
        return "says more than one line"
    if (
        status == 0
        and "--json" in words
        and words[0] not in ("submit", "batch")
        and not {*NULL, "help", "__complete"} & {*words}
        and not _is_json(out)
    ):
        return "writes no JSON"
    return None


def _is_json(out: bytes) -> bool:
    """Whether it is a document, or one on each line."""
    for documents in ([out], out.splitlines()):
        try:
            for document in documents:
                json.loads(document)
        except ValueError:
            continue
        return True
    return False


def call(ctl: Ctl, caller: Caller, tally: Tally) -> None:
    """Makes one call and judges it."""
    name, words = caller.words()
    given = caller.stdin()
    stream: dict[str, Any] = {"stdin": subprocess.DEVNULL} if given is None else {"input": given}
    may_wait = any(word.partition("=")[0] in WAITING or word in LASTING for word in words)
    ctl.env["EDITOR"] = ctl.env["VISUAL"] = caller.random.choice(["true", "false", "touch", "no-such-editor"])
    ctl.env["GFLOW_NOTIFICATIONS__MAIL__SENDMAIL"] = "/nonexistent"  # no mail leaves
    ctl.env["COLUMNS"] = caller.random.choice(["80", "200", "1", "0", "x"])
    began = time.monotonic()
    what = None
    try:
        done = NURSERY.run("gflowctl", [sys.executable, "-m", "gflowctl"], *words, cwd=ctl.home, env=ctl.env,
                           capture_output=True, timeout=GLIMPSE if may_wait else PATIENCE, **stream)  # fmt: skip
    except subprocess.TimeoutExpired:
        tally.cut_short += 1
        what = None if may_wait else f"does not end within {PATIENCE:g} s"
        out = err = b""
    else:
        tally.statuses[done.returncode] += 1
        out, err = done.stdout, done.stderr
        what = judge(words, done.returncode, out, err)
    tally.calls += 1
    tally.commands[name] += 1
    tally.slowest = max(tally.slowest, time.monotonic() - began)
    if what is not None:
        shown = [word if len(word) < 300 else f"{word[:100]}...({len(word)})" for word in words]
        said = err.decode(errors="backslashreplace")[-1500:]
        tally.faults.append(f"call {tally.calls}: {what}: gflowctl {shown!a} < {given!r:.200}\n{said}")
        print(tally.faults[-1], flush=True)


def run(calls: int, seed: int, heads: Path = DATA / "sbatch-heads.jsonl", together: int = TOGETHER) -> Tally:
    """All of them; the queues with an odd number hold what makes no sense."""
    tally = Tally()
    for number in range(-(-calls // together)):
        caller = Caller(seed * 1_000_003 + number, heads)
        with private_ctl() as ctl:
            furnish(ctl, caller, senseless=number % 2 == 1)
            for _ in range(min(together, calls - number * together)):
                call(ctl, caller, tally)
        tally.options |= caller.options
    return tally


def main() -> int:
    """0 when all calls ended as they may."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=6800, help="how many")
    parser.add_argument("--seed", type=int, default=None, help="of the random numbers (default: a new one)")
    parser.add_argument("--heads", type=Path, default=DATA / "sbatch-heads.jsonl", help="scripts' heads, as JSON lines")
    args = parser.parse_args()
    seed = random.SystemRandom().randrange(1_000_000) if args.seed is None else args.seed
    began = time.monotonic()
    print(f"seed {seed}", flush=True)
    tally = run(args.calls, seed, args.heads)
    statuses = ", ".join(f"{status}: {count}" for status, count in sorted(tally.statuses.items()))
    print(f"{tally.calls} calls of {len(tally.commands)} commands with {len(tally.options)} options, "
          f"{time.monotonic() - began:.0f} s; statuses {statuses}; {tally.cut_short} were asked to wait and cut short; "
          f"slowest {tally.slowest:.1f} s; {len(tally.faults)} faults")  # fmt: skip
    return int(bool(tally.faults))


if __name__ == "__main__":
    sys.exit(main())
