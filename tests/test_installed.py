"""The programs as pip installs them, among what users have in their environments. Each is a program of its own here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import gflowd

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
VERSION = f"python{sys.version_info[0]}.{sys.version_info[1]}"
TAKEN = ("argparse", "encodings", "filelock", "json", "orjson", "re", "sitecustomize", "types", "typing")
PIP = [
    sys.executable,
    "-m",
    "pip",
    "install",
    "-q",
    "--disable-pip-version-check",
    "--no-deps",
    "--no-index",
    "--no-warn-script-location",
    "--ignore-installed",
]  # fmt: skip -- or it would remove what runs the tests
HAS_PIP = subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0

pytestmark = [
    pytest.mark.skipif(not HAS_PIP, reason="pip is not installed"),
    pytest.mark.skipif(not os.access("/bin/bash", os.X_OK), reason="there is no /bin/bash"),
]


class Place:
    """Where pip has installed gflow: its programs, and a user with an environment that breaks Pythons."""

    def __init__(self, root: Path, programs: Path) -> None:
        self.root, self.programs = root, programs
        self.home = root / "home"
        self.env = {"HOME": str(self.home), "PATH": "/usr/bin:/bin", "GFLOW_STATE_DIR": str(root / "state")}
        self.env |= {name: value for name, value in os.environ.items() if name.startswith("GFLOW_TEST_")}

    def run(self, program: str, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        path = program if "/" in program else str(self.programs / program)
        return subprocess.run([path, *words], env=self.env | env, cwd=self.home, stdin=subprocess.DEVNULL, text=True,
                              capture_output=True, check=False, timeout=60)  # fmt: skip

    def ok(self, program: str, *words: str, **env: str) -> str:
        done = self.run(program, *words, **env)
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As a build makes it; without what a build would have to fetch."""
    path = tmp_path_factory.mktemp("wheel") / f"gflow-{gflowd.__version__}-py3-none-any.whl"
    name = f"gflow-{gflowd.__version__}"
    files = {str(each.relative_to(ROOT)): each for package in ("gflowd", "gflowctl") for each in
             (ROOT / package).rglob("*") if each.is_file() and "__pycache__" not in each.parts}  # fmt: skip
    files |= {f"{name}.data/scripts/{each.name}": each for each in (ROOT / "bin").iterdir()}
    made = {
        "METADATA": f"Metadata-Version: 2.1\nName: gflow\nVersion: {gflowd.__version__}\n",
        "WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for target, source in files.items():
            archive.write(source, target)
        for target, text in made.items():
            archive.writestr(f"{name}.dist-info/{target}", text)
        entries = [*files, *(f"{name}.dist-info/{target}" for target in (*made, "RECORD"))]
        archive.writestr(f"{name}.dist-info/RECORD", "".join(f"{entry},,\n" for entry in entries))
    return path


def environment(root: Path) -> Path:
    """A virtual environment with the packages that gflow needs, but without gflow."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", root], check=True, timeout=60)
    places = [place for place in sys.path if place.endswith("-packages")]
    site = root / "lib" / VERSION / "site-packages"
    for name in ("orjson", "filelock", "libtmux", "psutil", "pynvml.py"):
        found = next((Path(place) / name for place in places if (Path(place) / name).exists()), None)
        if found is not None:
            (site / name).symlink_to(found)
    return root


def place(root: Path) -> Place:
    found = Place(root, root / "venv/bin")
    evil = found.home / "modules"
    evil.mkdir(parents=True)
    for name in TAKEN:
        (evil / f"{name}.py").write_text(f"raise ImportError('{name} of the user')\n")
        (found.home / f"{name}.py").write_text(f"raise ImportError('{name} of the user')\n")
    return found


@pytest.fixture(scope="module")
def venv(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Iterator[Place]:
    """In a virtual environment whose path has a blank."""
    found = place(tmp_path_factory.mktemp("a blank"))
    subprocess.run([*PIP, "--prefix", environment(found.root / "venv"), wheel], check=True, timeout=120)
    first = (found.programs / "gflow-python").read_text().partition("\n")
    (found.programs / "gflow-python").write_text(f"#!{found.programs}/python{first[1]}{first[2]}")
    return found


def polluted(found: Place) -> list[dict[str, str]]:
    modules = str(found.home / "modules")
    return [
        {"PYTHONPATH": modules}, {"PYTHONPATH": "."}, {"PYTHONHOME": "/nonexistent"}, {"PYTHONINSPECT": "1"},
        {"PYTHONSTARTUP": f"{modules}/re.py"}, {"PYTHONPATH": modules, "PYTHONHOME": modules, "PYTHONINSPECT": "x"},
        {"PYTHONWARNINGS": "error"}, {"PYTHONOPTIMIZE": "2"}, {"PYTHONUSERBASE": modules}, {"PYTHONCASEOK": "1"},
        {"PYTHONPLATLIBDIR": "nonsense"}, {"PYTHONVERBOSE": "1"}, {"PYTHONDEVMODE": "1"}, {"PYTHONUTF8": "9"},
    ]  # fmt: skip


def test_no_python_variable_changes_what_a_program_does(venv: Place) -> None:
    for env in polluted(venv):
        assert venv.ok("gflowctl", "--version", **env) == f"gflowctl {gflowd.__version__}\n"
        assert venv.ok("gflowd", "--version", **env) == f"gflowd {gflowd.__version__}\n"


def test_a_daemon_starts_and_its_jobs_have_the_variables(venv: Place) -> None:
    env = polluted(venv)[5]
    (venv.root / "gflow.toml").write_text("[executor]\ntype = 'process'\n")
    venv.env["GFLOW_CONFIG"] = str(venv.root / "gflow.toml")
    assert venv.ok("gflowd", "start", **env).startswith("gflowd started")
    try:
        text = 'echo "$PYTHONPATH $PYTHONHOME $PYTHONINSPECT"'
        assert venv.ok("gflowctl", "submit", "--wait", "--wrap", text, **env) == "Submitted batch job 1\n"
        assert venv.ok("gflowctl", "log", "1").split("\n")[0] == " ".join(env.values())
        assert venv.ok("gflowd", "restart", **env)
        assert "running" in venv.ok("gflowd", "status", **env)
    finally:
        venv.ok("gflowd", "stop", **env)
        del venv.env["GFLOW_CONFIG"]


def test_the_environment_reaches_the_job_whole(venv: Place) -> None:
    """Functions of bash, and names that no shell knows."""
    given = {"BASH_FUNC_load%%": "() {  echo loaded\n}", "a.b": "1", "BASH_ENV": "/nonexistent", "ENV": "/nonexistent",
             "PYTHONPATH": "x", "UID": "77", "IFS": "x", "POSIXLY_CORRECT": "1"}  # fmt: skip
    venv.ok("gflowctl", "submit", "--export", "ALL", "true", SHELLOPTS="xtrace", **given)
    state = Path(venv.env["GFLOW_STATE_DIR"])
    newest = max((state / "env").glob("*"), key=lambda path: (path.suffix == "", path.stat().st_mtime_ns))
    kept = dict(each.split("=", 1) for each in newest.read_text().split("\0") if each)
    assert {name: kept.get(name) for name in given} == given | {"IFS": " \t\n"}  # which no shell takes from outside
    more = {name for name in kept if not name.endswith("PAGER")}  # those are gflow's own
    assert more <= {*venv.env, *given, "PWD", "OLDPWD", "SHELLOPTS", "SHLVL", "_"}


def test_a_link_elsewhere_finds_it(venv: Place) -> None:
    links = venv.root / "links"
    links.mkdir()
    for name, target in (("gflowctl", "gflowctl"), ("gflowd", "gflowd"), ("g", "gflowctl")):
        (links / name).symlink_to(venv.programs / target)
    (links / "twice").symlink_to("gflowd")
    for name, program in (("gflowctl", "gflowctl"), ("gflowd", "gflowd"), ("g", "gflowctl"), ("twice", "gflowd")):
        assert venv.ok(str(links / name), "--version", PYTHONHOME="/x") == f"{program} {gflowd.__version__}\n"
    path = f"{links}:{venv.env['PATH']}"
    assert venv.ok("/usr/bin/env", "gflowctl", "--version", PATH=path) == f"gflowctl {gflowd.__version__}\n"
    done = subprocess.run(["./gflowctl", "--version"], cwd=links, env=venv.env, capture_output=True, check=True)
    assert done.stdout.startswith(b"gflowctl ")


def test_a_link_that_is_called_as_a_program_of_slurm_is_that_program(venv: Place) -> None:
    links = venv.root / "commands"
    said = venv.run("gflowctl", "slurm-commands", "install", str(links)).stdout
    assert said.endswith(f"are now in {links}\n")
    assert venv.ok(str(links / "scontrol"), "show", "hostnames", "n[1-2]", PYTHONHOME="/x") == "n1\nn2\n"
    done = venv.run(str(links / "scontrol"), "nonsense")
    assert (done.returncode, done.stderr) == (1, "scontrol: error: invalid keyword: nonsense\n")


def test_streams_and_statuses_are_the_program_s(venv: Place) -> None:
    def shell(text: str) -> tuple[int, str]:
        done = subprocess.run(["bash", "-c", text, "x", venv.programs / "gflowctl"], env=venv.env, cwd=venv.home,
                              capture_output=True, text=True, check=False, timeout=60)  # fmt: skip
        return done.returncode, done.stdout

    assert shell('"$1" queue <&- >&- 2>&-') == (0, "")
    assert shell('"$1" queue >/dev/full')[0] == 3
    assert shell('"$1" nonsense')[0] == 2
    loop = 'printf "a\\nb\\n" | while read -r x; do "$1" submit --hold true >/dev/null; echo $x; done'
    assert shell(loop) == (0, "a\nb\n")
    assert shell('printf "#!/bin/sh\\ntrue\\n" | "$1" submit --hold')[0] == 0


@pytest.mark.parametrize(
    "line",
    ["#!{python}\n", "#!{python} -E\n", "#!{python} -E -s\n",
     *(f"#!/bin/sh\n'''exec' {python} \"$0\" \"$@\"\n' '''\n" for python in
       ('"{python}"', "'{python}'", "{python}", '"{python}" -E', "'{python}' -E", "{python} -E")),
    ],
)  # fmt: skip
def test_every_way_in_which_an_installer_names_a_python(tmp_path: Path, venv: Place, line: str) -> None:
    programs = tmp_path / "bin"
    shutil.copytree(venv.programs, programs, symlinks=True)
    text = (venv.programs / "gflow-python").read_text().partition("\n")[2]
    (programs / "gflow-python").write_text(line.format(python=venv.programs / "python") + text)
    assert venv.ok(str(programs / "gflowctl"), "--version") == f"gflowctl {gflowd.__version__}\n"


def test_what_is_missing_is_one_line(tmp_path: Path, venv: Place) -> None:
    programs = tmp_path / "bin"
    shutil.copytree(venv.programs, programs, symlinks=True)
    (programs / "gflow-python").write_text("#!/gone/python\n")
    done = venv.run(str(programs / "gflowd"), "status")
    said = f"gflowd: {programs}/gflow-python names no Python (it is /gone/python); install gflow again\n"
    assert (done.returncode, done.stdout, done.stderr) == (3, "", said)
    (programs / "gflow-python").unlink()
    done = venv.run(str(programs / "gflowctl"), "queue")
    said = f"gflowctl: {programs}/gflow-python names no Python; install gflow again\n"
    assert (done.returncode, done.stdout, done.stderr) == (3, "", said)
    assert "a part of gflowctl and gflowd" in venv.run(sys.executable, str(venv.programs / "gflow-python")).stderr


@pytest.mark.parametrize("how", ["--prefix", "--target"])
def test_packages_of_a_user_are_found_beside_their_programs(tmp_path: Path, wheel: Path, how: str) -> None:
    """As pip install --user has them, and other directories that an isolated Python does not look into."""
    found = place(tmp_path)
    python = environment(tmp_path / "plain") / "bin/python"
    user = found.home / ".local"
    subprocess.run([*PIP, how, user, wheel], check=True, timeout=120)
    package = next(user.rglob("gflowd/__init__.py"))
    package.write_text('__version__ = "7.7"\n')
    first = (user / "bin/gflow-python").read_text().partition("\n")
    (user / "bin/gflow-python").write_text(f"#!{python}\n{first[2]}")
    for env in polluted(found)[:6]:
        assert found.ok(str(user / "bin/gflowctl"), "--version", **env) == "gflowctl 7.7\n"
    assert found.ok(str(user / "bin/gflowctl"), "submit", "--parsable", "true") == "1\n"
