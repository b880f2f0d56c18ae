import pytest

from gflowd.core.progress import expected_end
from gflowd.core.progress.bar import Bar
from gflowd.core.progress.expected_end import DONE, EARLY, OVERDUE, PART, SILENT, Outlook


@pytest.mark.parametrize(
    ("fraction", "ran", "since", "found"),
    [
        (0.5, 100, 0, Outlook(100)),
        (0.4, 100, 0, Outlook(pytest.approx(150))),
        (0.5, 110, 10, Outlook(90)),
        (0.1, 1900, 900, Outlook(8100)),  # an hour for each of ten epochs: nothing is heard for long
        (0.019, 100, 0, Outlook(None, EARLY)),
        (0.5, 10, 10, Outlook(None, EARLY)),
        (0.5, 10, 100, Outlook(None, EARLY)),  # what was reported before it began
        (0.1, 3100, 2100, Outlook(None, SILENT)),
        (0.02, 60, 59, Outlook(None, OVERDUE)),
        (0.1, 65, 61, Outlook(None, SILENT)),
        (0.5, 200, 100, Outlook(None, OVERDUE)),
        (1.0, 100, 0, Outlook(None, DONE)),
    ],
)
def test_the_end_is_expected_by_the_pace_until_the_report(
    fraction: float, ran: float, since: float, found: Outlook
) -> None:
    assert expected_end.of(fraction, ran=ran, since=since) == found


@pytest.mark.parametrize(
    ("bar", "found"),
    [
        (Bar(0.5, "9/18", ran=95, left=80), Outlook(80)),
        (Bar(0.5, "9/18", ran=95, left=None), Outlook(100)),
        (Bar(0.5, "9/18", ran=50, left=80), Outlook(None, PART)),
        (Bar(0.5, "Epoch 1 9/18", ran=95, left=80, one_of_several=True), Outlook(None, PART)),
    ],
)
def test_a_bar_counts_for_the_job_if_it_has_run_nearly_as_long(bar: Bar, found: Outlook) -> None:
    assert expected_end.of(bar.fraction, ran=100, since=0, bar=bar) == found


@pytest.mark.parametrize(
    ("age", "since_pause", "run"),
    [(50, None, 50), (50, 60, 50), (150, 40, 50), (300, 40, 200), (120, 40, 40)],
)
def test_a_suspension_since_the_report_does_not_count(age: float, since_pause: float | None, run: float) -> None:
    assert expected_end.run_since(age, paused=100, since_pause=since_pause) == run
