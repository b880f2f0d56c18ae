"""What packages for distributions are made of: they are in step with setup.cfg, and all install the same."""

from __future__ import annotations

import configparser
import importlib.machinery
import importlib.util
import io
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

import gflowd
from gflowd.core.slurm import front_ends
from gflowd.effects import installer

ROOT = Path(__file__).parent.parent
PACKAGING = ROOT / "packaging"
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg")
FLOORS = dict(
    line.split(">=")
    for section, option in (
        ("options", "install_requires"),
        *(("options.extras_require", extra) for extra in ("cron", *installer.EXTRAS)),
    )
    for line in SETUP[section][option].split()
)
MUST = set(SETUP["options"]["install_requires"].split()) - {"nvidia-ml-py>=12.550.52"}  # NVML is for real GPUs alone
DEBIAN = {"apprise": "apprise", "nvidia-ml-py": "python3-pynvml"}  # others: python3-NAME
UNITS = ("gflowd.service", "gflow-gateway.service", "gflow-gateway.socket", "gflow.slice")
SHARED = PACKAGING / "systemd/shared"
PAM = ("gflow.pam", "gflow.pam.arch", "gflow.pam.debian", "gflow.pam.redhat")


def test_each_package_has_our_version() -> None:
    texts = {name: (PACKAGING / name).read_text() for name in ("debian/changelog", "rpm/gflow.spec", "arch/PKGBUILD")}
    found = {
        *re.findall(r"\Agflow \(([\d.]+)-\d+\)", texts["debian/changelog"]),
        *re.findall(r"(?m)^Version: +(\S+)$", texts["rpm/gflow.spec"]),
        *re.findall(r"(?m)^pkgver=(.*)$", texts["arch/PKGBUILD"]),
    }
    assert found == {gflowd.__version__}


def test_each_package_asks_for_the_oldest_releases_that_gflow_accepts() -> None:
    control = (PACKAGING / "debian/control").read_text().partition("\nPackage: gflow\n")[2]
    for name, version in FLOORS.items():
        assert f" {DEBIAN.get(name, f'python3-{name}')} (>= {version}),\n" in control
    arch = (PACKAGING / "arch/PKGBUILD").read_text()
    needed = set(re.findall(r"'python-([\w-]+)>=([\d.]+)'", arch.partition("\ndepends=")[2].partition("\n")[0]))
    assert needed == {(name, version) for name, version in FLOORS.items() if f"{name}>={version}" in MUST}


def test_each_extra_has_its_packages_named_where_they_are_missing() -> None:
    extras = SETUP["options.extras_require"]
    found = {name: tuple(line.split(">=")[0] for line in extras[name].split()) for name in installer.EXTRAS}
    assert found == installer.EXTRAS
    said = installer.extra("metrics", "gflowctl metrics")
    assert said == f"gflowctl metrics needs gflow[metrics]: {installer.command('prometheus-client')}"


def test_the_page_of_dependencies_names_each_with_its_oldest_release() -> None:
    page = (ROOT / "docs/dependencies.md").read_text()
    rows = re.findall(r"(?m)^\| ([a-z0-9-]+) \| ([\d.]+) \| [\d.]+ \| ([^|]+) \|", page)
    assert {name: version for name, version, _ in rows} == FLOORS
    developers = [
        line.strip() for name in ("test", "lint", "man") for line in SETUP["options.extras_require"][name].split("\n")
    ]
    names = {re.split(r"[\[<>=]", line)[0] for line in developers if line and not line.startswith("#")}
    assert {name for name in names if name not in page} == set()


def test_what_packages_install_beside_pip_is_complete_and_runs(tmp_path: Path) -> None:
    usr = tmp_path / "usr"
    (usr / "bin").mkdir(parents=True)
    (usr / "bin/gflow-python").write_text("as pip installs it\n")
    path = f"{os.path.dirname(sys.executable)}:/usr/bin:/bin"
    subprocess.run([PACKAGING / "install-extras", tmp_path, "/usr/share/zsh/vendor-completions"], cwd=ROOT, check=True,
                   env={"PATH": path})  # fmt: skip
    (pam,) = (each for each in (tmp_path / "etc").rglob("*") if each.is_file())
    assert pam == tmp_path / "etc/pam.d/gflow"
    found = {str(each.relative_to(usr)) for each in usr.rglob("*") if not each.is_dir()}
    shared = {
        place.format(name)
        for name in ("gflowctl", "gflowd")
        for place in (
            "bin/{}", "share/bash-completion/completions/{}", "share/fish/vendor_completions.d/{}.fish",
            "share/zsh/vendor-completions/_{}",
        )
    }  # fmt: skip
    units = {"lib/systemd/user/gflowd.service", "lib/systemd/system/gflowd@.service"}
    system = {f"lib/systemd/system/{name}" for name in UNITS} | {
        "lib/sysusers.d/gflow.conf",
        "lib/tmpfiles.d/gflow.conf",
    }
    assert found == shared | units | system | {f"lib/gflow/slurm/bin/{name}" for name in front_ends.NAMES}
    for name in ("gflowctl", "gflowd"):
        assert (usr / "bin" / name).read_text().startswith("#!/usr/bin/python3 -I\n")
        assert os.access(usr / "bin" / name, os.X_OK)
    for name in front_ends.NAMES:
        assert (usr / "lib/gflow/slurm/bin" / name).resolve() == usr / "bin/gflowctl"
    for unit in units:
        assert "\nExecStart=/usr/bin/gflowd run\n" in (usr / unit).read_text()


def test_every_distribution_has_the_files_of_the_daemon_for_all_users() -> None:
    listed = (PACKAGING / "debian/gflow-system.install").read_text().split()
    spec = (PACKAGING / "rpm/gflow.spec").read_text()
    for name in UNITS:
        assert any(Path(f"usr/lib/systemd/system/{name}").match(pattern) for pattern in listed)
        assert f"\n%{{_unitdir}}/{name}\n" in spec
    for recipe in ("debian/rules", "rpm/gflow.spec", "arch/PKGBUILD"):
        (pam,) = re.findall(r"\bgflow\.pam\.[a-z]+", (PACKAGING / recipe).read_text())
        assert pam in PAM


def test_a_gateway_at_work_is_restarted_by_an_upgrade_and_stopped_by_a_removal() -> None:
    spec = (PACKAGING / "rpm/gflow.spec").read_text()
    for macro in ("systemd_preun", "systemd_postun_with_restart"):
        (units,) = re.findall(rf"(?m)^%{macro} (.*)$", spec)
        assert {"gflowd.service", "gflow-gateway.service"} <= set(units.split())
    for script, verb in (("postinst", "try-restart"), ("prerm", "stop")):
        text = (PACKAGING / f"debian/gflow-system.{script}").read_text()
        assert f"deb-systemd-invoke {verb} gflow-gateway.service" in text
        assert text.index("#DEBHELPER#") < text.index(verb)


def test_no_job_is_moved_out_of_its_unit_and_nothing_is_given_away_at_installation() -> None:
    assert {each.name for each in SHARED.glob("*.pam*")} == set(PAM)
    for name in PAM:
        rules = [line for line in (SHARED / name).read_text().splitlines() if not line.startswith("#")]
        assert not [line for line in rules if "pam_systemd" in line or line.endswith(("common-session", "-login"))]
        assert {"pam_loginuid.so", "pam_access.so"} <= {line.split()[-1] for line in rules}
    for script in (PACKAGING / "debian").glob("*.p[or]*"):
        assert not re.search(r"\bch(own|mod|grp)\b", script.read_text())


def packed(names: list[str], when: int, owner: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as made:
        for name in names:
            member = tarfile.TarInfo(name)
            member.mtime, member.uname, member.mode = when, owner, 0o775 if name == "g/run" else 0o660
            member.size = len(name)
            made.addfile(member, io.BytesIO(name.encode()))
    return out.getvalue()


def test_an_sdist_is_the_same_wherever_it_was_made() -> None:
    pytest.importorskip("setuptools")
    spec = importlib.util.spec_from_file_location("gflow_build", PACKAGING / "backend/gflow_build.py")
    assert spec is not None
    assert spec.loader is not None
    backend = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(backend)
    one = backend.repacked(packed(["g/a", "g/run"], 1, "ada"), 1795000000)
    assert one == backend.repacked(packed(["g/run", "g/a"], 2_000_000_000, "bob"), 1795000000)
    with tarfile.open(fileobj=io.BytesIO(one)) as sdist:
        members = [(each.name, each.mode, each.mtime, each.uname) for each in sdist.getmembers()]
        content = sdist.extractfile("g/run")
        assert content is not None
        assert content.read() == b"g/run"
    assert members == [("g/a", 0o644, 1795000000, ""), ("g/run", 0o755, 1795000000, "")]


@pytest.mark.parametrize("switch", [[], ["--qemu"]])
def test_systemd_is_not_tried_where_no_root_can_be_made(switch: list[str]) -> None:
    script = [sys.executable, PACKAGING / "test-systemd", *switch]
    done = subprocess.run(script, env={"PATH": "/nowhere"}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (77, "")
    assert re.fullmatch(r"systemd is not tried: .+\n", done.stdout)


def test_each_table_of_systemd_replaces_only_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(PACKAGING))
    loader = importlib.machinery.SourceFileLoader("test_systemd_script", str(PACKAGING / "test-systemd"))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    trials = importlib.util.module_from_spec(spec)
    loader.exec_module(trials)
    page = "# Page\n"
    for text, qemu in (
        ("\nlogouts\n", False),
        ("\nmemory\n", True),
        ("\nnew logouts\n", False),
        ("\nnew memory\n", True),
    ):
        page = trials.written(page, text, qemu=qemu)
    assert page == f"# Page\n{trials.HEADING}\nnew logouts\n{trials.SUBHEADING}\nnew memory\n"
