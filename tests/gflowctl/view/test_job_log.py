"""Which files are shown as the log of a job."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gflowctl.view import job_log
from gflowd.core.errors import Refused

NOBODY = 65534


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_root_follows_no_link_that_another_user_may_have_put_there(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("root's")
    (tmp_path / "log").symlink_to(tmp_path / "secret")
    fd = job_log.open_log(str(tmp_path / "log"))
    assert fd is not None
    os.close(fd)
    os.chown(tmp_path, NOBODY, NOBODY)
    with pytest.raises(Refused, match="log is a symbolic link; it belongs to nobody; root does not follow it"):
        job_log.open_log(str(tmp_path / "log"))
