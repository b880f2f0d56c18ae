"""Writes docs/performance.md from the results of a run. Pure; says only what was measured."""

from __future__ import annotations

from peers.peer import SIZES
from peers.targets import NAMES, SINGLE, growth, targets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from peers.plot import Panel
    from peers.results import Results

# The title of each row, its key, and the unit of its values.
ROWS = (
    ("one submission, idle", "submit", "ms"),
    ("submission to start", "start", "ms"),
    ("submission of `true` until its end is known", "done", "ms"),
    ("submission during a burst of 20, after its first job has started, mean of up to 10", "burst", "ms"),
    ("shell loop of submissions until the last job ran, per job", "loop", "ms"),
    ("the same until all ends are known, per job", "loop known", "ms"),
    ("jobs of an array run per second", "rate", "/s"),
    ("array of 1,000 accepted", "array 1000", "ms"),
    ("array of 10,000 accepted (gflow-rs: 10 of 1,000)", "array 10000", "ms"),
    ("chain of dependent jobs, per link", "chain", "ms"),
    ("CPU of the daemon when idle, share of a core", "idle cpu", "%"),
    ("CPU with 1,000 (tsp: 900) queued behind 4 running, share of a core", "busy cpu", "%"),
    *((f"listing of {size:,} queued", f"grown list {size}", "ms") for size in SIZES[:-1]),
    ("memory (PSS) of all processes when idle", "idle memory", "MB"),
    *((f"memory with {size:,} queued", f"grown memory {size}", "MB") for size in SIZES[1:]),
)
AGAINST = """\
Median of gflow divided by median of the peer, from the same run. Below 1, gflow takes less (or runs fewer jobs per
second).
"""
METHOD = """\
## How it is measured

Each peer runs as packaged, in a home directory of its own; all get the same small environment. A job is a shell that
writes a line into a pipe, which shows when it ran, whichever peer ran it. To measure when an end is known, the job is
`true`, and the peer itself reports the end: `gflowctl submit --wait`, `tsp -w`, `nq -w`; the list of the two peers
without such a command is polled every 10 ms. Peers take turns, so that a busy moment affects all alike; a peer that
needs seconds per job gets fewer jobs. gflow, task-spooler and Slurm run as many jobs at once as there are cores, nq
runs one; gflow-rs immediately starts every job without GPUs. In gflow-rs, a long queue waits for GPUs that do not
exist; elsewhere it waits behind a job on all cores. It consists of arrays (in gflow-rs of 1,000 jobs each, since it
refuses more), which Slurm keeps folded until an element starts. Idle memory is measured with no other peer running;
with many jobs queued, the peers run side by side, and memory that our two daemons share counts half for each. CPU is
that of the peer's permanent processes. An exponent is the slope of a line through the costs at 1,000 jobs and more,
minus the cost with no jobs, on two logarithmic axes; nothing is subtracted for a submission, or if nothing would be
left.
"""
GROWN = (("list", "ms"), ("submit", "ms"), ("tick", "ms"), ("memory", "MB"))
FACTORS = {"ms": 1000.0, "%": 100.0, "MB": 1.0, "/s": 1.0}


def page(results: Results, notes: str, *, quick: bool) -> str:
    """The whole page; `notes` are written by hand and come last."""
    parts = [
        "# How fast gflow is, compared with other queues\n",
        _opening(results),
        "**A quick run with few repetitions: it shows that the benchmark works; do not quote it.**\n" if quick else "",
        "## Targets\n",
        *_targets(results),
        "## gflow against each peer\n",
        AGAINST,
        *_ratios(results),
        "## Medians\n",
        *_medians(results),
        *_notes(results),
        *_growth(results),
        METHOD,
        *_jobs(results),
        notes,
    ]
    return "\n".join(part.rstrip("\n") + "\n" for part in parts if part)


def _opening(results: Results) -> str:
    about = results.machine
    by_program = {name.split()[0]: version for name, version in results.versions.items()}
    versions = ", ".join(f"{name} {version}" for name, version in by_program.items())
    first = (
        f"Written by `make bench-peers` on {about['date']} in {about['minutes']} minutes; all figures are from that "
        f"run: {about['cores']} cores ({about['processor']}), {about['memory']} of memory, Linux"
        f" {about['kernel']}, Python {about['python']}, load {about['load']} at the start. {versions}.\n"
    )
    return first + "".join(f"\nLeft out: {name}, because {why}.\n" for name, why in results.skipped.items())


def _targets(results: Results) -> Iterator[str]:
    every = list(targets(results))
    known = [target for target in every if target.found is not None]
    yield table(("what", "measured", "target", ""), [
        (target.what, _number(target.found, target.unit),
         f"{'at least' if target.least else 'at most'} {target.bound:g} {target.unit}".rstrip(),
         "pass" if target.kept else "**MISS**")
        for target in known
    ])  # fmt: skip
    missed = sum(not target.kept for target in known)
    left_out = f"; {len(every) - len(known)} others were not measured in this run" if len(known) < len(every) else ""
    yield f"{len(known) - missed} of {len(known)} targets reached, {missed} missed{left_out}.\n"


def _columns(results: Results) -> tuple[list[str], list[str]]:
    """Our columns, and those of the others."""
    names = [name for name in results.versions if name not in ("bare", SINGLE)]
    return [name for name in names if name.startswith("gflow ")], [n for n in names if not n.startswith("gflow ")]


def _ratios(results: Results) -> Iterator[str]:
    ours, others = _columns(results)
    pairs = [(mine, other) for mine in ours for other in others if _comparable(mine, other)]
    rows = []
    for title, key, _unit in ROWS:
        cells = [_number(results.ratio(key, mine, other), "") for mine, other in pairs]
        if set(cells) - {"-"}:
            rows.append((title, *cells))
    yield table(("", *(f"{mine.removeprefix('gflow ')} / {other}" for mine, other in pairs)), rows)


def _comparable(mine: str, other: str) -> bool:
    """Each executor beside the same executor; those that have none beside the process executor."""
    return other.endswith(mine.removeprefix("gflow")) if other.startswith("gflow-rs") else mine.endswith("process")


def _medians(results: Results) -> Iterator[str]:
    ours, others = _columns(results)
    names = ["bare", *ours, *others]
    rows = []
    for title, key, unit in ROWS:
        cells = [_cell(results, key, name, unit) for name in names]
        if set(cells) - {"-"}:
            rows.append((f"{title}, {unit}", *cells))
    yield table(("", "bare Python", *ours, *others), rows)


def _cell(results: Results, key: str, name: str, unit: str) -> str:
    value = results.median(key, name)
    return "-" if value is None else _number(FACTORS[unit] * value, "")


def _notes(results: Results) -> Iterator[str]:
    titles = {key: title for title, key, _ in ROWS}
    for key, by_peer in results.notes.items():
        for name, sentence in by_peer.items():
            yield f"- {name}, {titles.get(key, key)}: gave up, {sentence}.\n"


def _jobs(results: Results) -> Iterator[str]:
    for part, by_peer in results.jobs.items():
        counts = ", ".join(f"{name} {count}" for name, count in by_peer.items())
        yield f"Number of jobs measured, {part}: {counts}.\n"


def _growth(results: Results) -> Iterator[str]:
    names = [name for name in results.versions if results.median("grown memory 0", name) is not None]
    if not names:
        return
    yield "## Growth\n"
    yield "![Cost against the number of queued jobs](growth.svg)\n"
    for what, unit in GROWN:
        rows = []
        for name in names:
            cells = [_cell(results, f"grown {what} {size}", name, unit) for size in (0, *SIZES)]
            slope = growth(results, what, name)
            rows.append((name, *cells, "-" if slope is None else f"{slope:.2f}"))
        title = NAMES[what][0].upper() + NAMES[what][1:]
        yield table((f"{title}, {unit}", *(f"{size:,}" for size in (0, *SIZES)), "exponent"), rows)


def panels(results: Results) -> list[Panel]:
    """What is drawn of it."""
    found: list[Panel] = []
    for what, unit in GROWN:
        lines = {}
        for name in results.versions:
            values = [(float(size), results.median(f"grown {what} {size}", name)) for size in SIZES]
            points = [(size, FACTORS[unit] * value) for size, value in values if value is not None]
            if len(points) > 1:
                lines[name] = points
        found.append((NAMES[what], unit, lines))
    return found


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |\n" for line in lines)


def _number(value: float | None, unit: str) -> str:
    """With three digits that count."""
    if value is None:
        return "-"
    if not value:
        return f"0 {unit}".strip()
    digits = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}" if abs(value) >= 0.001 else f"{value:.4f}"
    return f"{digits} {unit}".strip()
