"""Whose gflowd a call means."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from gflowctl.context import Context, chosen_state_dir
from gflowd import paths
from gflowd.core.errors import BadUsage, Refused

if TYPE_CHECKING:
    from pathlib import Path

    from support.ctl import Ctl

HOME = {"HOME": "/home/ada"}
OWN = "/home/ada/.local/state/gflow"


def test_the_daemon_for_all_users_is_meant_where_there_is_one_and_none_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = str(tmp_path)
    monkeypatch.setattr(paths, "SYSTEM_STATE", system)
    named, job = {**HOME, "GFLOW_STATE_DIR": "/own"}, {**HOME, "GFLOW_STATE_DIR": system}
    assert chosen_state_dir(HOME, None, None) == OWN
    with pytest.raises(Refused, match="no gflowd for all users"):
        chosen_state_dir(HOME, None, "system")
    (tmp_path / "shared").touch(0o644)
    cases = [
        (HOME, None, None, system),
        (HOME, None, "user", OWN),
        (HOME, None, "system", system),
        (HOME, "/given", None, "/given"),
        (named, None, None, "/own"),
        (named, None, "user", "/own"),
        (named, None, "system", system),  # in a job of one's own daemon
        (job, None, None, system),
        (job, None, "user", OWN),
        (job, None, "system", system),
    ]
    for environ, given, daemon, place in cases:
        assert chosen_state_dir(environ, given, daemon) == place
    with pytest.raises(BadUsage, match="either --daemon or --state-dir"):
        chosen_state_dir(HOME, "/given", "user")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's file makes a directory one of many users")
def test_the_configuration_is_then_the_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "SYSTEM_STATE", str(tmp_path))
    assert Context(HOME).config_path == "/home/ada/.config/gflow/gflow.toml"
    assert Context(HOME).uid is None
    (tmp_path / "shared").touch(0o644)
    assert Context(HOME).config_path == paths.SYSTEM_CONFIG
    assert Context(HOME).uid == 0
    assert Context(HOME, daemon="user").config_path == "/home/ada/.config/gflow/gflow.toml"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's file makes a directory one of many users")
def test_config_show_tells_of_the_systems_file_then(ctl: Ctl) -> None:
    os.mkdir(ctl.state.root, 0o711)
    with open(ctl.state.path("shared"), "x", encoding="ascii"):
        pass
    shown = json.loads(ctl.ok("config", "show", "--json", env={**ctl.env, "XDG_CONFIG_HOME": "/x"}))
    assert (shown["config"]["path"], shown["config"]["from"]) == (paths.SYSTEM_CONFIG, "default")


def test_the_option_may_be_before_and_after_the_command(ctl: Ctl) -> None:
    before = ctl.submit("true")
    for words in (("--daemon", "user", "queue", "--json"), ("queue", "--json", "--daemon=user")):
        assert f'"id": {before}' in ctl.ok(*words)
    assert "choose from user, system" in ctl.fails(2, "queue", "--daemon", "mine")
    assert ctl.fails(2, "queue", "--daemon", "user", "--state-dir", "x") == (
        "give either --daemon or --state-dir, not both"
    )
