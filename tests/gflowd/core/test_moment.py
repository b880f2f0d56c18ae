from gflowd.core.moment import Moment


def test_two_moments_with_the_same_clocks_are_the_same() -> None:
    assert Moment(1.0, 2.0, "b") == Moment(1.0, 2.0, "b")
    assert len({Moment(1.0, 2.0, "b"), Moment(1.0, 2.0, "b"), Moment(1.0, 2.0, "c")}) == 2
