"""`config show`: every setting, its value, and where that comes from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from gflowd.config import settings, start_options

if TYPE_CHECKING:
    from support.ctl import Ctl

FILE = """\
timezone = "Europe/Berlin"
[gpu]
poll_interval = 20
allow = [0, 2]
[projects]
known_projects = ["ml", "a b"]
[quota]
default_user = { max_running_jobs = 8 }
[quota.users.ada]
max_running_gpus = "none"
"""


def shown(ctl: Ctl, *words: str, **settings: Any) -> dict[str, Any]:
    document = json.loads(ctl.ok("config", "show", "--json", *words, **settings))
    return {each["name"]: (each["value"], each["from"], each["where"], each["given"]) for each in document["settings"]}


def write(ctl: Ctl, text: str = FILE) -> None:
    place = ctl.home / ".config/gflow"
    place.mkdir(parents=True)
    (place / "gflow.toml").write_text(text)


def test_without_a_file_every_setting_has_its_default(ctl: Ctl) -> None:
    found = shown(ctl)
    assert list(found) == [setting.name for setting in settings.SETTINGS if setting.section != "shared"]
    assert {origin for _, origin, _, _ in found.values()} == {"default"}
    assert found["history.after"] == (86400.0, "default", None, '"1d"')
    assert not ctl.state.has_snapshot()  # it makes nothing


def test_each_value_is_told_with_its_origin(ctl: Ctl) -> None:
    write(ctl)
    ctl.state.prepare()
    start_options.keep(ctl.state, start_options.StartOptions(None, {"gpu.allow": "0-1", "gpu.simulate": "2x8G"}))
    env = {**ctl.env, "GFLOW_GPU__POLL_INTERVAL": "3", "GFLOW_DAEMON__GPU_ALLOCATION_STRATEGY": "random"}
    found = shown(ctl, env=env)
    assert found["timezone"] == ("Europe/Berlin", "file", "line 1", '"Europe/Berlin"')
    assert found["gpu.poll_interval"] == (3.0, "environment", "GFLOW_GPU__POLL_INTERVAL", "3")
    assert found["gpu.allow"] == ([0, 1], "option", None, "0-1")
    assert found["gpu.simulate"] == ([2, 8192], "option", None, "2x8G")
    assert found["gpu.allocation"][:3] == ("random", "environment", "GFLOW_DAEMON__GPU_ALLOCATION_STRATEGY")
    assert found["projects.known_projects"] == (["ml", "a b"], "file", "line 6", '["ml", "a b"]')
    assert found["quota.default_user.max_running_jobs"] == (8, "file", "line 8", "8")
    assert found["quota.users.ada.max_running_gpus"] == (None, "file", "line 10", '"none"')
    assert found["logs.keep"][1] == "default"
    text = ctl.ok("config", "show", env=env)
    assert f"Configuration file: {ctl.home}/.config/gflow/gflow.toml (default)\n" in text
    assert f"State directory:    {ctl.state.root} (GFLOW_STATE_DIR)\n" in text
    rows = {line.split()[0]: line.split(maxsplit=2)[1:] for line in text.splitlines() if "." in line.split(" ")[0]}
    assert rows["gpu.poll_interval"] == ["3", "environment, GFLOW_GPU__POLL_INTERVAL"]
    assert rows["gpu.allow"] == ["0-1", "option of gflowd"]
    assert rows["store.lock_timeout"] == ["10", "default"]


def test_settings_and_sections_can_be_named(ctl: Ctl) -> None:
    assert list(shown(ctl, "gpu.allow")) == ["gpu.allow"]
    assert list(shown(ctl, "scheduler.fair_share", "timezone")) == [
        "timezone", "scheduler.fair_share.enabled", "scheduler.fair_share.half_life", "scheduler.fair_share.cpu_weight",
    ]  # fmt: skip
    assert ctl.ok("config", "show", "gpu.allow").splitlines()[1].split() == ["gpu.allow", '"all"', "default"]
    assert "did you mean gpu.allow?" in ctl.fails(2, "config", "show", "gpu.alow")
    assert "did you mean scheduler?" in ctl.fails(2, "config", "show", "schedule")


def test_the_file_that_counts_is_the_one_that_was_named(ctl: Ctl) -> None:
    ctl.state.prepare()
    (ctl.home / "a.toml").write_text("[gpu]\npoll_interval = 4\n")
    (ctl.home / "b.toml").write_text("[gpu]\npoll_interval = 5\n")
    start_options.keep(ctl.state, start_options.StartOptions(str(ctl.home / "a.toml"), {}))
    assert shown(ctl)["gpu.poll_interval"][0] == 4
    assert "a.toml (option of gflowd)" in ctl.ok("config", "show")
    assert shown(ctl, "--config", "b.toml")["gpu.poll_interval"][0] == 5
    assert "b.toml (option --config)" in ctl.ok("--config", "b.toml", "config", "show")


def test_a_wrong_file_is_told_with_the_line(ctl: Ctl) -> None:
    write(ctl, "[gpu]\nalow = 1\n")
    assert "line 2: " in ctl.fails(1, "config", "show")
