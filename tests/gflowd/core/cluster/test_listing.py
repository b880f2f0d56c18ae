"""What Slurm's programs print is read as values; lines that are not ours, or no lines at all, are passed over."""

from __future__ import annotations

import pytest

from gflowd.core.cluster import listing
from gflowd.core.cluster.remote_observations import Nodes
from gflowd.core.cluster.states import Seen

QUEUE = """\
12|12|N/A|RUNNING|n1|1795820890|Unknown|None|gflow:m:s:1.1
14|13|5|PENDING||N/A|N/A|Nodes|required for job|gflow:m:s:2.1
15|15|N/A|RUNNING|n1|1795820890|N/A|None|another's
too few|fields
"""


def test_jobs_with_a_mark_are_read_and_others_are_not() -> None:
    alone, element = listing.jobs(QUEUE)
    assert alone == listing.Row("12", "12", None, "gflow:m:s:1.1", Seen("12", "RUNNING", "None", "n1", 1795820890.0))
    assert element.seen == Seen("13_5", "PENDING", "Nodes|required for job", None, None, None)
    assert (element.raw_id, element.given_id, element.task) == ("14", "13", 5)


def test_the_accounting_is_read_by_ids() -> None:
    text = "12|13_5|CANCELLED by 0|n2|1|2|\n9|9|TIMEOUT|None assigned|1|2|None\nSlurm accounting storage is disabled\n"
    assert listing.accounted(text) == {
        "13_5": Seen("13_5", "CANCELLED by 0", "None", "n2", 1.0, 2.0),
        "9": Seen("9", "TIMEOUT", "None", None, 1.0, 2.0),
    }
    assert "--jobs=9,13_5" in listing.sacct(["9", "13_5"])


@pytest.mark.parametrize(
    ("status", "complaint", "there_is_none"),
    [
        (1, "Slurm accounting storage is disabled", True),
        (None, "sacct: No such file or directory", True),
        (127, "sh: 1: sacct: not found", True),
        (None, "ssh: no answer within 30 s", False),
        (1, "sacct: error: Problem talking to the database: Connection refused", False),
        (0, "", False),
    ],
)
def test_whether_there_is_an_accounting_at_all(status: int | None, complaint: str, there_is_none: bool) -> None:
    assert listing.has_no_accounting(status, complaint) == there_is_none


@pytest.mark.parametrize(
    ("state", "waiting", "over"),
    [
        ("PENDING", True, False),
        ("REQUEUE_HOLD", True, False),
        ("RUNNING", False, False),
        ("COMPLETING", False, False),
        ("CANCELLED by 7", False, True),
        ("FAILED", False, True),
        ("", False, False),
    ],
)
def test_what_a_state_means(state: str, waiting: bool, over: bool) -> None:
    seen = Seen("1", state)
    assert (listing.is_waiting(seen), listing.is_over(seen)) == (waiting, over)


def test_the_configuration_says_what_an_array_may_have_and_how_long_ends_are_remembered() -> None:
    text = "MaxArraySize            = 1001\nMinJobAge               = 300 sec\n"
    assert (listing.max_array(text), listing.min_job_age(text)) == (1001, 300.0)
    assert (listing.max_array("?"), listing.min_job_age("?")) == (None, None)


NODES = """\
32|100000|infinite|usual|idle|(null)
32|100000|infinite|usual|mix|(null)
64|200000|2-03:00:00|gpu|alloc|gpu:a100:4(S:0-1),gpu:2
8|1000|30:00|usual|down*|(null)
?|1000|30:00|usual|idle|(null)
8|n/a|30:00|usual|idle|(null)
"""


def test_kinds_of_nodes_that_can_take_jobs() -> None:
    usual, gpu = Nodes(32, 100000), Nodes(64, 200000, (("a100", 4), (None, 2)), 183600.0)
    assert listing.nodes(NODES, None) == (usual, gpu)
    assert listing.nodes(NODES, "gpu") == (gpu,)
    assert listing.nodes("none\n", None) == ()
