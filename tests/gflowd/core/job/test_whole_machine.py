from support.specs import SPEC

from gflowd.core.job.model import Tasks
from gflowd.core.job.whole_machine import resolved


def test_who_asks_for_all_of_the_machine_has_all_of_it() -> None:
    assert resolved(SPEC, 8, 1000) is SPEC
    alone = SPEC.replace(exclusive=True, all_memory=True)
    assert resolved(alone, 8, 1000) == alone.replace(cpus=8, memory_mb=1000)
    assert resolved(alone.replace(cpus=8), 8, 1000).cpus == resolved(alone.replace(cpus=64), 8, 1000).cpus == 8
    assert resolved(SPEC.replace(all_memory=True, memory_mb=1000), 8, 1000).memory_mb == 1000


def test_who_asks_for_more_cpus_than_that_keeps_the_number() -> None:
    asked = SPEC.replace(exclusive=True, tasks=Tasks(count=4, cpus=3))
    assert (resolved(asked, 8, 1000).cpus, resolved(asked, 16, 1000).cpus) == (12, 16)
    assert resolved(asked.replace(tasks=Tasks(per_node=1)), 8, 1000).cpus == 8
