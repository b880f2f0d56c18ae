"""The mean load of the GPUs of each attempt, poll by poll."""

from gflowd.core.gpu.mean_load import Load, follow

ONE, TWO = (1, 1), (2, 1)


def test_each_poll_adds_the_mean_of_an_attempts_gpus() -> None:
    seen = follow({}, {ONE: ("a", "b"), TWO: ("c",)}, {"a": 100, "b": 50, "c": 0})
    assert seen == {ONE: Load(75.0, 1), TWO: Load(0.0, 1)}
    seen = follow(seen, {ONE: ("a", "b"), TWO: ()}, {"a": 25, "b": None})
    assert seen == {ONE: Load(100.0, 2), TWO: Load(0.0, 1)}, "what does not tell, or stands still, adds nothing"
    assert follow(seen, {ONE: ("z",)}, {"a": 9}) == {ONE: Load(100.0, 2)}


def test_of_gpus_that_never_tell_nothing_is_kept() -> None:
    assert follow({}, {ONE: ("a",)}, {"a": None}) == {}
    assert (Load().mean, Load(150.0, 2).mean) == (None, 75.0)
