"""Writes a queue as scripts for sbatch(1), with one that submits them in order. Changes nothing in the queue."""

from __future__ import annotations

import os
import shlex

from gflowctl.admin import slurm_parts, slurm_script
from gflowctl.view import dependencies, jobs, kept_submission, roles, views
from gflowd.core.errors import Refused
from gflowd.core.job.dependencies import AFTER, AFTERCORR, ANY, SINGLETON, Needs
from gflowd.core.job.value_base import Value
from gflowd.core.queue.dependency_rules import Never, Satisfied

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Final

    from gflowctl.admin.slurm_parts import Part
    from gflowctl.context import Context
    from gflowctl.view.views import View
    from gflowd.core.job.dependencies import Dependency
    from gflowd.core.job.model import Job

    Split = Mapping[int, Sequence[Part]]  # by job or array

SUBMIT = "submit.sh"
LEFT = "it waits for {}, which is not written here: scontrol release lets it start"
SPLIT = "it waits for one of several, one an array in parts: scontrol release lets it start"
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


class Term(Value):
    """A dependency on what goes along: `kind` and delay as sbatch has them, the job or array, and which element of it;
    None: all.
    """

    __slots__ = ("delay", "index", "kind", "spec_id")

    def __init__(self, kind: str, spec_id: int | None, index: int | None, delay: str) -> None:
        self.kind: Final = kind
        self.spec_id: Final = spec_id
        self.index: Final = index
        self.delay: Final = delay


class Group(Value):
    """Jobs of one spec that go together: one, or elements of an array. `waits`: for what goes along, with `is_any` for
    one of it; `left`: why it is held there, a sentence for each reason.
    """

    __slots__ = ("found", "is_any", "left", "waits")

    def __init__(
        self, found: Sequence[Job], waits: tuple[Term, ...], left: tuple[str, ...], *, is_any: bool = False
    ) -> None:
        self.found: Final = found
        self.waits: Final = waits
        self.left: Final = left
        self.is_any: Final = is_any

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
    return [_group(view, by_spec[spec_id], waiting) for spec_id in order]


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


def _group(view: View, found: Sequence[Job], waiting: Mapping[int, Job]) -> Group:
    job = found[0]
    needs = job.spec.needs
    if needs is None or isinstance(dependencies.verdict(view, job), Satisfied):
        return Group(found, (), ())
    terms, left = [], []
    for each in needs.dependencies:
        if each.id is None:
            terms.append(Term(SINGLETON, None, None, ""))
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
                left.append(LEFT.format(dependencies.words(view, alone)))
    if needs.mode == ANY and terms:
        left = []  # it may start by one of the others
    return Group(found, tuple(terms), tuple(left), is_any=needs.mode == ANY and len(terms) > 1)


def _term(view: View, each: Dependency) -> Term:
    assert each.id is not None
    element = jobs.index(view.job(each.id)) if each.element else None
    delay = f"+{round(each.delay / 60)}" if each.kind == AFTER and each.delay else ""
    return Term(each.kind, view.spec_of(each.id), element, delay)


def write(context: Context, found: Sequence[Group], place: str, max_array: int = slurm_parts.USUAL) -> Iterator[str]:
    """Writes all into the new directory `place`, for a Slurm with that MaxArraySize; what is to be noted. Raises
    OSError, `Refused`.
    """
    os.mkdir(place, 0o700)
    for name in (slurm_script.ENVIRONMENTS, slurm_script.SCRIPTS):
        os.mkdir(os.path.join(place, name), 0o700)
    lost: dict[str, list[int]] = {}
    lines = [SHELL]
    split = {group.id: slurm_parts.parts(group.found, max_array, in_line=not group.is_any) for group in found}
    for group in (_for_parts(group, split) for group in found):
        spec = group.found[0].spec
        for each in (*slurm_script.lost_of(spec), *group.left):
            lost.setdefault(each, []).append(group.id)
        _copy(context, group.found[0], place)
        for part in split[group.id]:
            _put(place, f"{part.name}.sh", slurm_script.script(part, group.left).encode(errors="surrogateescape"))
        lines += _lines(group, split)
        if (number := len(split[group.id])) > 1:
            last = max(split[group.id][-1].indices) + split[group.id][-1].offset
            yield f"array {group.id} has the index {last}: in {number} parts, for a MaxArraySize of {max_array}"
    _put(place, SUBMIT, "".join(lines).encode(), mode=0o700)
    for each, ids in lost.items():
        yield f"job{'s' if len(ids) > 1 else ''} {','.join(map(str, ids))}: not in Slurm: {each}"


def _for_parts(group: Group, split: Split) -> Group:
    """Slurm cannot wait for all parts of an array or for something else: such a job is held."""
    in_parts = any(
        term.index is None and term.spec_id is not None and len(split[term.spec_id]) > 1 for term in group.waits
    )
    return group if not (group.is_any and in_parts) else Group(group.found, (), (*group.left, SPLIT))


def _lines(group: Group, split: Split) -> Iterator[str]:
    """What queues it, a part after the other where at most some of its elements run at a time."""
    held = group.left or any(job.wish.held for job in group.found)
    needs = group.found[0].spec.needs
    before: str | None = None
    for part in split[group.id]:
        terms = [text for term in group.waits if (text := _told(term, part, split)) is not None]
        if before is not None and part.limit is not None and not group.is_any:
            terms.append(f"afterany:${{{before}}}")
        words = ["queue", part.name]
        if terms:
            words.append(f'--dependency="{("?" if group.is_any else ",").join(terms)}"')
            words.append(f"--kill-on-invalid-dep={'yes' if needs is None or needs.auto_cancel else 'no'}")
        if held:
            words.append("--hold")
        before = slurm_parts.variable(group.id, part.offset)
        yield f"{' '.join(words)}\n{before}=$id\n"


def _told(term: Term, part: Part, split: Split) -> str | None:
    """`afterok:${job5}_3`; None where there is nothing to wait for."""
    if term.spec_id is None:
        return term.kind
    offset = part.offset if term.kind == AFTERCORR else None
    ids = slurm_parts.variables(term.spec_id, split, term.index, offset)
    return ":".join((term.kind, *(f"{each}{term.delay}" for each in ids))) if ids else None


def _copy(context: Context, job: Job, place: str) -> None:
    """The job's environment and script."""
    spec = job.spec
    env = f"{slurm_script.ENVIRONMENTS}/{spec.env}.sh"
    if not os.path.exists(os.path.join(place, env)):
        _put(place, env, slurm_script.environment(kept_submission.environment(context.state, spec).split(b"\0")))
    if spec.script is not None:
        _put(place, f"{slurm_script.SCRIPTS}/{spec.script}", kept_submission.script(context.state, spec), mode=0o700)


def _put(place: str, name: str, content: bytes, *, mode: int = 0o600) -> None:
    fd = os.open(os.path.join(place, name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with os.fdopen(fd, "wb") as file:
        file.write(content)


def submit_command(place: str) -> str:
    """What queues it all."""
    return f"sh {shlex.quote(os.path.join(place, SUBMIT))}"
