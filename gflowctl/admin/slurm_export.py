"""Writes a queue as scripts for sbatch(1), with one that submits them in order. Changes nothing in the queue."""

from __future__ import annotations

import os
import shlex

from gflowctl.admin import slurm_script
from gflowctl.view import dependencies, jobs, kept, roles, views
from gflowd.core.errors import Refused
from gflowd.core.job.dependencies import AFTER, ANY, SINGLETON, Needs
from gflowd.core.job.value import Value
from gflowd.core.queue.dependency_rules import Never, Satisfied

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Final

    from gflowctl.context import Context
    from gflowctl.view.views import View
    from gflowd.core.job.dependencies import Dependency
    from gflowd.core.job.model import Job

SUBMIT = "submit.sh"
SLURMS_LARGEST = 1000  # index, unless slurm.conf says otherwise
LEFT = "it waits for {}, which is not written here: scontrol release lets it start"
SHELL = """\
#!/bin/sh
# Queues at Slurm, in order, what gflowctl export wrote here. What was queued is in the file "submitted", each with its
# number there: run this again after an error, and it goes on.
set -eu
cd "$(dirname "$0")"
GFLOW_EXPORT=$PWD
export GFLOW_EXPORT
touch submitted
queue() {
  job=$1
  shift
  id=$(sed -n "s/^$job //p" submitted)
  if [ -z "$id" ]; then
    id=$(sbatch --parsable "$@" "$job.sh")
    id=${id%%;*}
    echo "$job $id" >>submitted
  fi
  echo "job $job is Slurm's job $id"
}
"""


class Group(Value):
    """Jobs of one spec that go together: one, or elements of an array. `waits`: its dependencies as sbatch has them,
    with the numbers of jobs there as variables of the shell; `left`: what it waits for that stays here.
    """

    __slots__ = ("found", "left", "waits")

    def __init__(self, found: Sequence[Job], waits: str | None, left: tuple[str, ...]) -> None:
        self.found: Final = found
        self.waits: Final = waits
        self.left: Final = left

    @property
    def id(self) -> int:
        """By which its script is called."""
        return self.found[0].array_id or self.found[0].id


def groups(context: Context, texts: Sequence[str]) -> list[Group]:
    """The queued and held jobs that JOBS arguments name, without any all of the user's own, in an order in which no job
    comes before one that it waits for. Raises `Refused`.
    """
    view = views.View(context, context.store.read())
    named = view.select(texts) if texts else view.owned(view.ids(), (context.user,))
    waiting = {}
    for job_id in named:
        if jobs.is_waiting(job := view.job(job_id)):
            roles.check_own(view, job_id, jobs.label(job))
            waiting[job_id] = job
    if not waiting:
        raise Refused("none of these jobs is queued or held" if texts else "you have no queued or held job")
    by_spec = {
        spec_id: [waiting[job_id] for job_id in ids] for spec_id, ids in views.by_spec(view, sorted(waiting)).items()
    }
    order = _ordered(view, by_spec)
    return [Group(by_spec[spec_id], *_waits(view, by_spec[spec_id][0], waiting)) for spec_id in order]


def _ordered(view: View, by_spec: Mapping[int, Sequence[Job]]) -> list[int]:
    """By priority, but each after those that it waits for."""
    found: dict[int, None] = {}
    todo = sorted(by_spec, key=lambda spec_id: (-by_spec[spec_id][0].spec.priority, spec_id), reverse=True)
    while todo:
        spec_id = todo.pop()
        needs = by_spec[spec_id][0].spec.needs
        ids = () if needs is None else needs.ids
        before = [each for each in dict.fromkeys(map(view.spec_of, ids)) if each in by_spec and each not in found]
        if before and spec_id not in before:
            todo += [spec_id, *before]
        else:
            found[spec_id] = None
    return list(found)


def _waits(view: View, job: Job, waiting: Mapping[int, Job]) -> tuple[str | None, tuple[str, ...]]:
    needs = job.spec.needs
    if needs is None or isinstance(dependencies.verdict(view, job), Satisfied):
        return None, ()
    terms, left = [], []
    for each in needs.dependencies:
        if each.id is None:
            terms.append(SINGLETON)
            continue
        ids = (each.id,) if each.element or each.id not in view.families else tuple(view.ids_of(each.id))
        others = [job_id for job_id in ids if job_id not in waiting]
        if len(others) < len(ids):
            terms.append(_term(view, each))
        if others:
            alone = job.replace(spec=job.spec.replace(needs=Needs(dependencies=(each,))))
            verdict = dependencies.verdict(view, alone)
            over = len(others) < len(ids) and all(map(view.has_ended, others))
            if isinstance(verdict, Never) or not (over or isinstance(verdict, Satisfied)):
                left.append(dependencies.words(view, alone))
    if needs.mode == ANY and terms:
        left = []  # it may start by one of the others
    return ("?" if needs.mode == ANY else ",").join(terms) or None, tuple(left)


def _term(view: View, each: Dependency) -> str:
    """`afterok:$job5_3`."""
    assert each.id is not None
    spec_id = view.spec_of(each.id)
    element = f"_{jobs.index(view.job(each.id))}" if each.element else ""
    delay = f"+{round(each.delay / 60)}" if each.kind == AFTER and each.delay else ""
    return f"{each.kind}:${{job{spec_id}}}{element}{delay}"


def write(context: Context, found: Sequence[Group], place: str) -> Iterator[str]:
    """Writes all into the new directory `place`; what is to be noted. Raises OSError, `Refused`."""
    os.mkdir(place, 0o700)
    for name in (slurm_script.ENVIRONMENTS, slurm_script.SCRIPTS):
        os.mkdir(os.path.join(place, name), 0o700)
    lost: dict[str, list[int]] = {}
    lines = [SHELL]
    for group in found:
        spec = group.found[0].spec
        more = [LEFT.format(each) for each in group.left]
        for each in (*slurm_script.lost_of(spec), *more):
            lost.setdefault(each, []).append(group.id)
        _copy(context, group.found[0], place)
        _put(place, f"{group.id}.sh", slurm_script.script(group.found, more).encode(errors="surrogateescape"))
        lines.append(_line(group))
        if (last := slurm_script.largest_index(group.found)) > SLURMS_LARGEST:
            yield f"array {group.id} has the index {last}: Slurm takes it if MaxArraySize is larger"
    _put(place, SUBMIT, "".join(lines).encode(), mode=0o700)
    for each, ids in lost.items():
        yield f"job{'s' if len(ids) > 1 else ''} {','.join(map(str, ids))}: not in Slurm: {each}"


def _line(group: Group) -> str:
    held = group.left or any(job.wish.held for job in group.found)
    needs = group.found[0].spec.needs
    words = ["queue", str(group.id)]
    if group.waits is not None:
        words.append(f'--dependency="{group.waits}"')
        words.append(f"--kill-on-invalid-dep={'yes' if needs is None or needs.auto_cancel else 'no'}")
    if held:
        words.append("--hold")
    return f"{' '.join(words)}\njob{group.id}=$id\n"


def _copy(context: Context, job: Job, place: str) -> None:
    """The job's environment and script."""
    spec = job.spec
    env = f"{slurm_script.ENVIRONMENTS}/{spec.env}.sh"
    if not os.path.exists(os.path.join(place, env)):
        _put(place, env, slurm_script.environment(kept.environment(context.state, spec).split(b"\0")))
    if spec.script is not None:
        _put(place, f"{slurm_script.SCRIPTS}/{spec.script}", kept.script(context.state, spec), mode=0o700)


def _put(place: str, name: str, content: bytes, *, mode: int = 0o600) -> None:
    fd = os.open(os.path.join(place, name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with os.fdopen(fd, "wb") as file:
        file.write(content)


def submit_command(place: str) -> str:
    """What queues it all."""
    return f"sh {shlex.quote(os.path.join(place, SUBMIT))}"
