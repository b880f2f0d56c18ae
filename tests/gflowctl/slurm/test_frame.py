"""What all of Slurm's programs have in common, and how users come by them."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gflowd.core.slurm import front_ends

if TYPE_CHECKING:
    from support.ctl import Ctl


@pytest.fixture(scope="module")
def some(tmp_path_factory: pytest.TempPathFactory) -> Ctl:
    from support.ctl import Ctl

    place = tmp_path_factory.mktemp("slurm")
    (place / "home").mkdir()
    return Ctl(place / "state", place / "home")


@pytest.mark.parametrize("name", front_ends.NAMES)
def test_a_program_tells_its_version_its_help_and_what_it_does_not_know(some: Ctl, name: str) -> None:
    for word in ("-V", "--version"):
        assert some.slurm(name, word).stdout.startswith("slurm 23.")
    for word in ("--help", "--usage"):
        assert some.slurm(name, word).stdout.startswith(f"Usage: {name} ")
    done = some.slurm(name, "--nonsense")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"{name}: error: --nonsense: not an option of {name}")
    assert done.stderr.count("\n") == 1


def test_scontrol_shows_hosts(some: Ctl) -> None:
    assert some.slurm("scontrol", "show", "hostnames", "n[01-02],m").stdout == "n01\nn02\nm\n"
    assert some.slurm("scontrol", "sho", "hostlist", "n2,n1").stdout == "n[2,1]\n"
    assert some.slurm("scontrol", "show", "HOSTLISTS", "n2,n1").stdout == "n[1-2]\n"
    done = some.slurm("scontrol", "show", "hostnames")
    assert (done.returncode, done.stderr) == (1, "scontrol: error: host list is empty\n")
    env = some.env | {"SLURM_JOB_NODELIST": "box"}
    assert some.slurm("scontrol", "show", "hostnames", env=env).stdout == "box\n"
    done = some.slurm("scontrol", "show", "hostnames", "x[")
    assert (done.returncode, done.stderr) == (1, "scontrol: error: Invalid hostlist: x[\n")
    for words in (("shuffle",), ("show", "h"), ("show",), ("-o",)):
        done = some.slurm("scontrol", *words)
        assert done.returncode == 1
        assert done.stderr.startswith("scontrol: error: ")
    done = some.slurm("scontrol", "ping")
    assert (done.returncode, done.stdout.split()[-1]) == (1, "DOWN")
    assert some.slurm("scontrol", "version").stdout.startswith("slurm 23.")


@pytest.fixture
def places(ctl: Ctl) -> tuple[Path, Path]:
    """Where gflowctl is, on the PATH, and a directory for links."""
    programs, links = ctl.home / "programs", ctl.home / "links"
    programs.mkdir()
    (programs / "gflowctl").write_text(f"#!{sys.executable}\n")
    (programs / "gflowctl").chmod(0o755)
    ctl.env["PATH"] = f"{programs}:/usr/bin:/bin"
    ctl.usual = dict(ctl.env)
    return programs, links


def test_the_commands_are_linked_listed_and_removed(ctl: Ctl, places: tuple[Path, Path]) -> None:
    programs, links = places
    done = ctl.run("slurm-commands", "install", str(links))
    assert (done.returncode, done.stdout) == (0, f"{', '.join(front_ends.NAMES)} are now in {links}\n")
    assert done.stderr == f"gflowctl: note: {links} is not on your PATH\n"
    assert sorted(os.listdir(links)) == sorted(front_ends.NAMES)
    assert {os.readlink(path) for path in links.iterdir()} == {f"{programs}/gflowctl"}
    ctl.env["PATH"] += f":{links}"
    ctl.usual = dict(ctl.env)
    assert ctl.ok("slurm-commands", "install", str(links)), "again"
    found = [line.split() for line in ctl.ok("slurm-commands", "list", str(links)).splitlines()]
    assert found[0] == ["COMMAND", "LINK", "CALLED"]
    assert ["scontrol", f"{links}/scontrol", f"{links}/scontrol"] in found
    (links / "other").write_text("")
    assert ctl.ok("slurm-commands", "uninstall", str(links)).startswith("Removed ")
    assert os.listdir(links) == ["other"]
    assert ctl.fails(1, "slurm-commands", "uninstall", str(links)) == f"there are no links of gflow's in {links}"


def test_no_slurm_of_another_s_is_hidden_or_replaced(ctl: Ctl, places: tuple[Path, Path]) -> None:
    programs, links = places
    (programs / "scontrol").write_text("#!/bin/sh\n")
    (programs / "scontrol").chmod(0o755)
    said = ctl.fails(1, "slurm-commands", "install", str(links))
    assert said == f"{programs}/scontrol is there already, perhaps of a real Slurm; --force installs ours all the same"
    assert not links.exists()
    assert ctl.run("slurm-commands", "install", "--force", str(links)).returncode == 0
    said = ctl.fails(1, "slurm-commands", "install", "--force", str(programs))
    assert said == f"{programs}/scontrol is not a link of gflow's; remove it, or name another directory"
    (programs / "gflowctl").unlink()
    assert "no gflowctl is installed" in ctl.fails(1, "slurm-commands", "install", "--force", str(links))
    assert ctl.ok("slurm-commands", "uninstall", str(links)), "also links that lead nowhere"
