from gflowd.core.execution.process_owner import job_of
from gflowd.core.execution.procstat import Process


def process(pid: int, parent: int, session: int, start: int = 100) -> Process:
    return Process(pid=pid, parent=parent, session=session, start=start, zombie=False)


LEADER = process(50, 40, 50, 90)
NONE = (None,) * 9


def owner(*lineage: Process, marks: tuple[int | None, ...] = NONE, leaders: dict[int, Process] | None = None) -> object:
    return job_of(lineage, marks[: len(lineage)], {7: LEADER} if leaders is None else leaders)


def test_a_process_in_the_tree_of_a_job_is_the_job_s() -> None:
    assert owner(process(60, 55, 60), process(55, 50, 55), LEADER) == 7
    assert owner(LEADER) == 7


def test_a_process_of_its_session_is_the_job_s_whoever_its_parent_is_now() -> None:
    assert owner(process(60, 1, 50)) == 7


def test_a_process_that_left_tree_and_session_is_known_by_its_mark() -> None:
    assert owner(process(60, 1, 60), marks=(7,), leaders={}) == 7
    assert owner(process(61, 60, 61), process(60, 1, 60), marks=(None, 8)) == 8


def test_anything_else_is_foreign() -> None:
    assert owner(process(60, 59, 60), process(59, 1, 59)) is None
    assert owner() is None


def test_one_older_than_the_job_s_shell_is_not_its() -> None:
    assert owner(process(60, 1, 50, start=10)) is None


def test_of_a_job_within_a_job_the_inner_one_counts() -> None:
    inner = process(60, 50, 60, 200)
    assert owner(process(61, 60, 60, 300), inner, LEADER, leaders={7: LEADER, 8: inner}) == 8
    assert owner(process(61, 60, 61, 300), LEADER, marks=(8, 7)) == 8
