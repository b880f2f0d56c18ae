from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.ctl import Ctl


def test_the_environment_that_is_asked_for_is_kept_and_shown(ctl: Ctl) -> None:
    env = ctl.env | {"CONDA_DEFAULT_ENV": "base"}
    for words in (["--conda-env", "ml"], [], ["--export", "NONE"], ["--export", "NONE", "--conda-env", "/opt/my env"]):
        ctl.ok("submit", *words, "true", env=env)
    assert [job["conda_env"] for job in ctl.jobs()] == ["ml", "base", None, "/opt/my env"]
    assert "Conda:" in ctl.ok("show", "1")
    assert "Conda:" not in ctl.ok("show", "3")
    ctl.ok("submit", "-a", "1-2", "--conda-env", "ml", "true")
    assert "Conda:     ml\n" in ctl.ok("show", "5")
    ctl.ok("redo", "1")
    assert ctl.spec(7).conda_env == "ml"


@pytest.mark.parametrize("name", ["", " ", "-n", "a\nb", b"\xff"])
def test_what_cannot_be_a_name_is_refused(ctl: Ctl, name: str | bytes) -> None:
    value = name if isinstance(name, bytes) else name.encode()
    assert "cannot be the name of an environment" in ctl.fails(2, "submit", b"--conda-env=" + value, "true")
    assert ctl.jobs() == []
