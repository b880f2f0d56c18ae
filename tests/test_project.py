"""The project's frame holds together: what is declared exists, and what exists is declared."""

from __future__ import annotations

import ast
import configparser
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import pytest
from support import tracing

import gflowd

ROOT = Path(__file__).parent.parent
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg")
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"(?m)^([a-z-]+):", MAKEFILE))


def lines(section: str, option: str) -> list[str]:
    return [line for line in SETUP[section][option].splitlines() if line and not line.startswith("#")]


def test_the_programs_that_pip_installs_exist() -> None:
    scripts = [ROOT / line for line in lines("options", "scripts")]
    assert sorted(scripts) == sorted((ROOT / "bin").iterdir())
    assert all(os.access(path, os.X_OK) for path in scripts)
    assert (ROOT / "bin/gflowd").read_bytes() == (ROOT / "bin/gflowctl").read_bytes()
    assert (ROOT / "bin/gflow-python").read_text().startswith("#!python\n"), "pip writes another path only there"


def test_every_package_is_found_by_its_pattern() -> None:
    patterns = lines("options.packages.find", "include")
    packages = [path.parent.relative_to(ROOT) for path in ROOT.glob("gflow*/**/__init__.py")]
    assert packages
    assert all(any(Path(package.parts[0]).match(pattern) for pattern in patterns) for package in packages)
    without = {path.parent for path in ROOT.glob("gflow*/**/*.py") if not (path.parent / "__init__.py").exists()}
    assert without == set()


def test_every_man_page_is_installed_in_its_section() -> None:
    for section in "1578":
        (pattern,) = lines("options.data_files", f"share/man/man{section}")
        assert list(ROOT.glob(pattern)) == list((ROOT / "man").glob(f"*.{section}")) != []
    assert {path.suffix for path in (ROOT / "man").glob("*.[0-9]")} == {".1", ".5", ".7", ".8"}


def test_completions_are_package_data() -> None:
    for package in ("gflowctl", "gflowd"):
        assert "completions/*" in SETUP["options.package_data"][package]
        found = {path.name for path in (ROOT / package / "completions").iterdir()}
        assert found == {f"{package}.{shell}" for shell in ("bash", "zsh", "fish")}


def test_the_newest_release_in_the_changelog_is_our_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert re.findall(r"(?m)^## \[(\d[\d.]*)\]", changelog)[0] == gflowd.__version__
    assert SETUP["metadata"]["version"] == "attr: gflowd.__version__"


def test_the_makefile_has_what_is_promised() -> None:
    assert {"demo", "test", "lint", "man", "bench", "soak", "clean", "help"} <= TARGETS
    assert set(re.findall(r"(?m)^\.PHONY: (.*)$", MAKEFILE)[0].split()) == TARGETS
    assert set(re.findall(r"@echo 'make ([a-z-]+)", MAKEFILE)) == TARGETS - {"help"}


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", ".ci/run", "packaging/README.md"])
def test_documents_name_only_targets_that_exist(document: str) -> None:
    named = set(re.findall(r"(?m)(?:^ {4}|`|^)make ([a-z-]+)", (ROOT / document).read_text()))
    assert named <= TARGETS


def test_the_nightly_run_makes_what_there_is_and_goes_on_after_a_failure() -> None:
    (usual,) = re.findall(r"\$\{\*:-([a-z -]+) ", (ROOT / ".ci/nightly").read_text())
    assert {"soak", "tools", "slurm-parity"} <= set(usual.split()) <= TARGETS
    done = subprocess.run([ROOT / ".ci/nightly", "no-such", "help"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "nightly: failed: no-such"
    assert "make clean" in done.stdout


def test_a_worker_of_the_tests_that_dies_fails_the_run() -> None:
    """Else xdist starts another, which waits for ever."""
    runs = [line for line in MAKEFILE.splitlines() if " -m pytest " in line and "$(TOOLS)" not in line]
    assert len(runs) == 6
    assert all("$(SPREAD)" in line for line in runs)
    assert "--max-worker-restart=0\n" in MAKEFILE


def test_only_tests_that_are_to_cover_the_core_are_traced() -> None:
    assert tracing.current() is None


def test_links_in_documents_lead_somewhere() -> None:
    for document in (
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("examples/*.md"),
        *ROOT.glob("packaging/*.md"),
    ):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_scripts_can_be_executed() -> None:
    benchmarks = [f"benchmarks/{name}.py" for name in ("bench", "lublin", "planner", "simulate")]
    scripts = [
        ".ci/nightly",
        ".ci/run",
        "man/generate.py",
        "packaging/test-systemd",
        *benchmarks,
        *(f"examples/{name}" for name in EXAMPLES),
    ]
    assert [name for name in scripts if not os.access(ROOT / name, os.X_OK)] == []


EXAMPLES = ("demo.py", "train.py", "pipeline.sh")


def test_each_lint_exception_has_its_reason() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    ignored = re.findall(r'(?m)^    "([A-Z]+\d*)",(.*)$', text)
    assert len(ignored) > 10
    assert [rule for rule, reason in ignored if not re.fullmatch(r" # .{8,}", reason)] == []
    assert set(tomllib.loads(text)) == {"build-system", "tool"}
    assert set(tomllib.loads(text)["tool"]) == {"ruff"}


def test_the_training_example_learns_the_same_from_the_same_seed(tmp_path: Path) -> None:
    models = []
    for name in ("one.json", "two.json"):
        command = [sys.executable, ROOT / "examples" / "train.py", "--epochs", "2", "--points", "50", "--out", name]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        assert len(re.findall(r"(?m)^epoch +\d+/2  loss \d", done.stdout)) == 2
        models.append((tmp_path / name).read_text())
    assert models[0] == models[1]


def test_the_shell_example_ends_with_a_burst_of_its_size() -> None:
    done = subprocess.run([ROOT / "examples" / "pipeline.sh", "1"], capture_output=True, check=True)
    burst = done.stdout.splitlines(keepends=True)[-16384:]
    assert sum(map(len, burst)) == 1 << 20
    assert [int(line[:12]) for line in burst] == list(range(1, 16385))
    assert "Größe, 東京".encode() in done.stdout


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize(("name", "manager"), [("gflowd.service", "--user"), ("gflowd@.service", "--system")])
def test_systemd_accepts_the_units(tmp_path: Path, name: str, manager: str) -> None:
    text = (ROOT / "packaging" / "systemd" / name).read_text()
    assert {"Type=notify", "KillMode=process", "Restart=on-failure"} <= set(text.splitlines())
    assert "\nWatchdogSec=" in text
    unit = tmp_path / name.replace("@", "@root")
    text = text.replace("DelegateSubgroup=daemon\n", "")  # which systemd knows since release 254
    unit.write_text(text.replace("ExecStart=gflowd", f"ExecStart={sys.executable} -m gflowd"))
    done = subprocess.run(
        ["systemd-analyze", manager, "--man=no", "verify", unit],
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


TESTS = sorted((ROOT / "tests").rglob("*.py"))


def test_no_two_test_modules_share_an_import_name() -> None:
    """They are imported by the last part of their paths, so that of two only one would be there."""
    packages = {path.parent for path in (ROOT / "tests").rglob("__init__.py")}
    names = Counter(path.stem for path in TESTS if path.parent not in packages and path.name != "conftest.py")
    names.update(package.name for package in packages)
    names.update(path.stem for path in (ROOT / "benchmarks").glob("*.py"))  # which some tests import
    assert [name for name, times in names.items() if times > 1] == []


class Shared:
    """What the modules of tests import and define, each read once."""

    def __init__(self) -> None:
        self.imported: list[tuple[str, str]] = []  # the module, and what it imports
        self.defined: Counter[str] = Counter()
        self.least: list[str] = []  # who writes out the least that a Spec must say
        for path in TESTS:
            for node in ast.walk(ast.parse(path.read_text())):
                match node:
                    case ast.ImportFrom(module=str(module)):
                        self.imported.append((path.name, module))
                    case ast.Import():
                        self.imported += [(path.name, alias.name) for alias in node.names]
                    case ast.FunctionDef():
                        self.defined[node.name] += 1
                    case ast.Call(func=ast.Name(id="Spec")):
                        self.least += [path.name] if ast.unparse(node).startswith("Spec(command=('x',)") else []


@pytest.fixture(scope="module")
def shared() -> Shared:
    return Shared()


def test_what_tests_share_is_imported_by_its_name_and_never_from_a_conftest_or_a_test(shared: Shared) -> None:
    assert shared.imported
    wrong = [(name, module) for name, module in shared.imported if module == "conftest" or module.startswith("test_")]
    assert wrong == []


def test_what_tests_share_is_built_once(shared: Shared) -> None:
    assert shared.defined["eventually"] == shared.defined["private_ctl"] == 1
    assert shared.least == ["specs.py"]
