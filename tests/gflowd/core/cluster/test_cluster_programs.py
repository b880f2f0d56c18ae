from __future__ import annotations

import pytest

from gflowd.core.cluster import programs
from gflowd.core.cluster.cluster_settings import Cluster
from gflowd.core.cluster.programs import Nodes


@pytest.mark.parametrize(
    ("prefix", "command"),
    [
        ((), ("sbatch", "--wrap", "a b")),
        (("env", "A=b"), ("env", "A=b", "sbatch", "--wrap", "a b")),
        (("ssh", "-q", "login"), ("ssh", "-q", "login", "sbatch", "--wrap", "'a b'")),
        (("/usr/bin/sshpass", "ssh", "login"), ("/usr/bin/sshpass", "ssh", "login", "sbatch", "--wrap", "'a b'")),
    ],
)
def test_what_goes_through_a_shell_is_quoted(prefix: tuple[str, ...], command: tuple[str, ...]) -> None:
    cluster = Cluster(name="hpc", directory="/shared", command_prefix=prefix)
    assert programs.words(cluster, ("sbatch", "--wrap", "a b")) == command


def test_a_submission_has_what_the_configuration_asks_for() -> None:
    plain = Cluster(name="hpc", directory="/shared")
    assert programs.submission(plain) == ()
    asked = Cluster(name="hpc", directory="/shared", partition="gpu", account="ml", qos="high", options=("-C", "a100"))
    assert programs.submission(asked) == ("--partition=gpu", "--account=ml", "--qos=high", "-C", "a100")


def test_partitions_are_read_with_what_limits_them() -> None:
    lines = (
        "usual|up|2|idle|32|32000|infinite|gpu:a100:2", "old|drain|1|down*|8+|9000+|5:00|(null)", "nonsense",
        "a|up|x|b|c|d|e|f",
    )  # fmt: skip
    told = "".join(f"{line}\n" for line in lines)
    assert list(programs.partitions(told)) == [
        Nodes("usual", "idle", 2, "32", "32000", "infinite", "gpu:a100:2"),
        Nodes("old", "down* (partition drain)", 1, "8+", "9000+", "5:00", None),
    ]
