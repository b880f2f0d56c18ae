"""The command line of gflowd, run as a program. Where the daemon itself does not matter, a stand-in that only waits
for signals takes the supervisor's place.
"""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gflowd import __version__, main
from gflowd.commands import init
from gflowd.config import settings
from gflowd.effects import daemon
from gflowd.paths import State

Run = Callable[..., tuple[int, str, str]]  # words of the command line; environment by keyword

STAND_IN = """
import os, signal, sys, types

def serve(state, runtime, config, *, reload, on_ready, to_stderr=False, known=None):
    from gflowd import log
    def show(config):
        with open(state.path("shown"), "a") as file:
            file.write(f"{config.poll_interval:g} {config.gpu_allow} {config.log_level} {to_stderr}\\n")
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGHUP})
    if os.environ.get("FAIL"):
        from gflowd.core.errors import SystemFailed
        raise SystemFailed(os.environ["FAIL"])
    show(config)
    on_ready(0)
    log.get("supervisor").info("ready")
    while signal.sigwait({signal.SIGTERM, signal.SIGHUP}) == signal.SIGHUP:
        show(reload())
    return 0

stand_in = types.ModuleType("gflowd.daemon.supervisor")
stand_in.serve = serve
sys.modules["gflowd.daemon.supervisor"] = stand_in
from gflowd.main import main
sys.exit(main())
"""


@pytest.fixture
def gflowd(tmp_path: Path, state: State, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Runs gflowd; answers (status, stdout, stderr). A daemon still running at the end is stopped."""
    for name in [name for name in os.environ if name.startswith("GFLOW_")]:
        if name != "GFLOW_TEST_MARK":
            monkeypatch.delenv(name)
    monkeypatch.setenv("GFLOW_STATE_DIR", state.root)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("PYTHONPATH", os.getcwd())

    def run(*words: str, **environ: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, "-c", STAND_IN, *words],
            env=os.environ | environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    yield run
    if (holder := daemon.running(state)) is not None and holder.pid:
        os.kill(holder.pid, signal.SIGKILL)


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    path = tmp_path / ".config" / "gflow" / "gflow.toml"
    path.parent.mkdir(parents=True)
    return path


def shown(state: State, count: int = 1) -> list[str]:
    """The configurations that the stand-in took up, once there are `count`."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        lines = Path(state.path("shown")).read_text().splitlines()
        if len(lines) >= count:
            return lines
        time.sleep(0.01)
    raise AssertionError(lines)


def test_a_daemon_starts_is_seen_and_stops(gflowd: Run, state: State) -> None:
    status, out, err = gflowd("start")
    pid = daemon.running(state).pid
    assert (status, out, err) == (0, f"gflowd started (pid {pid})\n", "")
    status, out, err = gflowd("status")
    assert (status, err) == (0, "")
    said = f"gflowd {__version__} is running: pid {pid} on {os.uname().nodename}, detached, up "
    assert re.match(rf"{re.escape(said)}0:\d\d\b", out)
    assert gflowd("stop") == (0, f"gflowd stopped (pid {pid})\n", "")
    assert daemon.running(state) is None
    assert not os.path.exists(state.daemon_pid)


def test_up_and_down_are_start_and_stop(gflowd: Run, state: State) -> None:
    assert gflowd("up")[0] == 0
    assert daemon.running(state) is not None
    assert gflowd("down")[0] == 0


def test_a_second_start_is_refused_naming_the_first(gflowd: Run, state: State) -> None:
    gflowd("start")
    pid = daemon.running(state).pid
    where = f"(pid {pid} on {os.uname().nodename})"
    assert gflowd("start") == (1, "", f"gflowd: already running {where}\n")
    assert gflowd("run") == (1, "", f"gflowd: already running {where}\n")


def test_what_is_not_running_is_said_so(gflowd: Run, state: State) -> None:
    assert gflowd("stop") == (0, "gflowd is not running\n", "")
    assert gflowd("status") == (3, f"gflowd is not running (state {state.root})\n", "")
    status, out, _ = gflowd("status", "--json")
    report = json.loads(out)
    assert (status, report["running"], report["pid"], report["workers"], report["gpus"]) == (3, False, None, [], [])
    assert gflowd("reload") == (1, "", "gflowd: the daemon is not running; gflowd start reads the configuration\n")


def test_status_as_json_has_the_fields_that_scripts_use(gflowd: Run, state: State) -> None:
    gflowd("start")
    holder = daemon.running(state)
    gpu = {"index": 0, "model": "Simulated", "memory_mb": 24576, "state": "idle", "simulated": True, "jobs": [3, 4]}
    Path(state.observed).write_text(json.dumps({"pid": holder.pid, "executor": "tmux", "gpus": [gpu]}))
    os.chmod(state.observed, 0o600)
    report = json.loads(gflowd("status", "--json")[1])
    assert (report["pid"], report["hosting"], report["version"]) == (holder.pid, "detached", __version__)
    assert 0 <= report["uptime"] < 60
    assert (report["executor"], report["gpus"], report["workers"]) == ("tmux", [gpu], [])
    assert "0    Simulated  24G     idle (simulated)  3,4" in gflowd("status")[1]


def test_a_daemon_that_cannot_start_is_the_starter_s_failure(gflowd: Run, state: State) -> None:
    assert gflowd("start", FAIL="the sky fell") == (3, "", "gflowd: the sky fell\n")
    assert "the sky fell" in Path(state.log).read_text()
    assert daemon.running(state) is None


def test_a_wrong_configuration_ends_it_with_file_line_and_key(gflowd: Run, config_file: Path) -> None:
    config_file.write_text("[gpu]\npoll_interval = 0\n")
    sentence = f"gflowd: {config_file}: line 2: gpu.poll_interval: 0 is too short (at least 1 s)\n"
    for verb in ("start", "run", "restart"):
        assert gflowd(verb) == (1, "", sentence)


def test_keys_without_effect_are_named_once(gflowd: Run, config_file: Path) -> None:
    config_file.write_text("[daemon]\nport = 1\n")
    status, _, err = gflowd("start")
    assert (status, err) == (0, f"gflowd: {config_file}: line 2: daemon.port has no effect here\n")


def test_run_stays_in_the_foreground_and_logs_to_stderr(gflowd: Run, state: State) -> None:
    process = subprocess.Popen([sys.executable, "-c", STAND_IN, "run"], stderr=subprocess.PIPE, text=True)
    assert ' info supervisor "daemon starts" version=' in process.stderr.readline()
    assert process.stderr.readline().endswith("Z info supervisor ready\n")
    holder = daemon.running(state)
    assert (holder.pid, holder.hosting) == (process.pid, "foreground")
    assert gflowd("restart")[2].startswith(f"gflowd: the daemon (pid {process.pid} on ")
    assert gflowd("stop")[0] == 0
    assert process.wait(60) == 0
    process.stderr.close()


def test_reload_takes_the_file_and_options_anew(gflowd: Run, state: State, config_file: Path) -> None:
    gflowd("start", "--simulate-gpus", "2", "--gpus", "0,1")
    config_file.write_text("[gpu]\npoll_interval = 4\n")
    status, out, _ = gflowd("reload", "-v")
    assert (status, out) == (0, f"gflowd reloads its configuration (pid {daemon.running(state).pid})\n")
    assert shown(state, 2) == ["10 (0, 1) info False", "4 (0, 1) debug False"]


def test_reload_with_an_error_leaves_the_daemon_as_it_is(gflowd: Run, state: State, config_file: Path) -> None:
    gflowd("start")
    config_file.write_text("[gpu]\nfoo = 4\n")
    status, _, err = gflowd("reload", "--gpus", "0")
    assert (status, err.count("\n")) == (1, 1)
    assert "line 2: unknown key 'gpu.foo'" in err
    assert shown(state) == ["10 None info False"]
    assert json.loads(Path(state.options).read_text()) == {"config": None, "options": {}}


def test_restart_keeps_the_options_and_the_file_that_it_was_started_with(
    gflowd: Run, state: State, tmp_path: Path
) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text("[gpu]\nallow = [7]\n")
    gflowd("--config", str(mine), "start", "--gpu-poll-interval-secs", "3")
    first = daemon.running(state).pid
    status, out, _ = gflowd("restart")
    second = daemon.running(state).pid
    assert (status, out) == (0, f"gflowd stopped (pid {first})\ngflowd started (pid {second})\n")
    gflowd("restart", "--gpu-poll-interval", "5")
    assert shown(state, 3) == ["3 (7,) info False", "3 (7,) info False", "5 (7,) info False"]
    gflowd("stop")
    gflowd("start")
    assert shown(state, 4)[3] == "10 None info False"


def test_restart_starts_what_was_not_running(gflowd: Run, state: State) -> None:
    assert gflowd("restart") == (0, f"gflowd started (pid {daemon.running(state).pid})\n", "")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), f"no command given: one of {', '.join(main.COMMANDS)} (see gflowd --help)"),
        (("frobnicate",), "no command 'frobnicate'; gflowd --help lists them"),
        (("strt",), "no command 'strt' (did you mean start?); gflowd --help lists them"),
        (("start", "--adpot"), "unrecognized arguments: --adpot (did you mean --adopt?) (see gflowd start --help)"),
        (("start", "--verb"), "unrecognized arguments: --verb (did you mean --verbose?) (see gflowd start --help)"),
        (("--confg=x", "start"), "unrecognized arguments: --confg=x (did you mean --config?) (see gflowd --help)"),
        (
            ("start", "--gpus", "x"),
            "--gpus: 'x' is not a list of GPUs (such as 0,2 or 0-3 or all) (see gflowd start --help)",
        ),
        (("run", "--gpu-poll-interval", "0"), "--gpu-poll-interval/--gpu-poll-interval-secs: 0.0 is too short"),
        (("start", "--gpu-allocation", "best"), "--gpu-allocation/--gpu-allocation-strategy: 'best' is none of"),
        (("start", "--simulate-gpus", "4xfoo"), "--simulate-gpus: 'foo' is not an amount of memory"),
        (("stop", "now"), "unrecognized arguments: now (see gflowd stop --help)"),
        (("completion", "tcsh"), "shell: invalid choice: 'tcsh'"),
        (("--config",), "--config: expected one argument"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_status_2(words: tuple[str, ...], sentence: str, gflowd: Run) -> None:
    status, out, err = gflowd(*words)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"gflowd: {sentence}")


def test_help_shows_the_help_of_a_command(gflowd: Run) -> None:
    assert gflowd("help") == gflowd("--help") == gflowd("help", "help")
    assert gflowd("help", "up") == gflowd("start", "--help")
    status, _, said = gflowd("help", "statsu")
    assert (status, "did you mean status?" in said) == (2, True)


def test_colour_is_used_where_it_is_asked_for(gflowd: Run) -> None:
    status, plain, _ = gflowd("status")
    coloured = f"gflowd is \x1b[31mnot running\x1b[0m {plain.partition('running ')[2]}"
    assert gflowd("status", "--color", "always") == gflowd("--color=always", "status") == (status, coloured, "")
    assert gflowd("--color", "always", "status", "--color", "never") == (status, plain, "")
    assert "\x1b" not in gflowd("status", "--json", "--color", "always")[1]


def test_the_state_directory_is_refused_when_it_is_open_to_others(gflowd: Run, state: State) -> None:
    os.chmod(state.root, 0o755)
    assert gflowd("start") == (1, "", f"gflowd: {state.root} is open to others; close it: chmod 700 {state.root}\n")


def test_the_state_directory_may_be_named(gflowd: Run, tmp_path: Path) -> None:
    other = State(str(tmp_path / "other"))
    assert gflowd("--state-dir", other.root, "start")[0] == 0
    assert daemon.running(other) is not None
    assert gflowd("stop", "--state-dir", other.root)[0] == 0


def test_relative_paths_survive_the_daemon_s_change_of_directory(
    gflowd: Run, state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here.toml").write_text("[gpu]\npoll_interval = 6\n")
    monkeypatch.chdir(tmp_path)
    gflowd("start", GFLOW_CONFIG="here.toml", GFLOW_RUNTIME_DIR="r")
    assert shown(state) == ["6 None info False"]
    assert (tmp_path / "r").is_dir()
    (tmp_path / "here.toml").write_text("[gpu]\npoll_interval = 7\n")
    gflowd("reload")
    assert shown(state, 2)[1] == "7 None info False"


def test_init_writes_the_template_once(gflowd: Run, tmp_path: Path) -> None:
    path = tmp_path / ".config" / "gflow" / "gflow.toml"
    assert gflowd("init", "--yes") == (0, f"wrote {path}\n", "")
    assert path.read_text() == init.template()
    assert gflowd("init") == (1, "", f"gflowd: {path} exists; gflowd init --force replaces it\n")
    path.write_text("x")
    assert gflowd("init", "--force")[0] == 0
    assert path.read_text() == init.template()
    assert gflowd("init", "--print") == (0, init.template(), "")


def test_init_keeps_a_link_to_the_file(gflowd: Run, config_file: Path, tmp_path: Path) -> None:
    real = tmp_path / "dotfiles.toml"
    real.write_text("x")
    config_file.symlink_to(real)
    assert gflowd("init", "--force")[0] == 0
    assert config_file.is_symlink()
    assert real.read_text() == init.template()


def test_init_replaces_no_device_or_pipe(gflowd: Run, tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    assert gflowd("init", "--force", "--config", str(path)) == (1, "", f"gflowd: {path} is not a regular file\n")
    assert path.is_fifo()


@pytest.mark.parametrize(("answer", "status"), [("y\n", 0), ("\n", 1), ("n\n", 1)])
def test_init_asks_on_a_terminal(answer: str, status: int, gflowd: Run, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen([sys.executable, "-c", STAND_IN, "init"], stdin=theirs, stdout=subprocess.PIPE)
    os.write(ours, answer.encode())
    out, _ = process.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert process.returncode == status
    assert out.startswith(b"Write ")
    assert (tmp_path / ".config" / "gflow" / "gflow.toml").exists() == (status == 0)


def test_start_works_with_all_streams_closed(gflowd: Run, state: State) -> None:
    subprocess.run(["sh", "-c", '"$@" <&- >&- 2>&-', "sh", sys.executable, "-c", STAND_IN, "start"], check=True)
    assert daemon.running(state) is not None


@pytest.mark.parametrize(
    "reopen", ["gflowd.main import _reopen_closed_streams", "gflowctl.output.render import reopen_closed_streams"]
)
def test_a_closed_stdout_is_open_for_packages_that_ask_for_the_first_one(reopen: str) -> None:
    text = f"import sys\nfrom {reopen} as reopen\nreopen()\nsys.exit(sys.__stdout__.encoding != 'utf-8')"
    subprocess.run(["sh", "-c", '"$@" >&-', "sh", sys.executable, "-c", text], check=True)


def test_a_full_stderr_does_not_change_the_exit_status(gflowd: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)  # else nothing is left to fail at the end
    with open("/dev/full", "w", encoding="ascii") as full:
        process = subprocess.run([sys.executable, "-c", STAND_IN, "nonsense"], stderr=full, check=False)
    assert process.returncode == 2


def test_a_reader_that_leaves_is_no_error(gflowd: Run) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.run(
        [sys.executable, "-c", STAND_IN, "init", "--print"], stdout=writing, stderr=subprocess.PIPE, check=False
    )
    os.close(writing)
    assert (process.returncode, process.stderr) == (0, b"")


def test_a_full_output_is_one_sentence(gflowd: Run) -> None:
    with open("/dev/full", "w", encoding="ascii") as full:
        process = subprocess.run(
            [sys.executable, "-c", STAND_IN, "init", "--print"], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert (process.returncode, process.stderr) == (3, b"gflowd: standard output: No space left on device\n")


def test_version_and_help(gflowd: Run) -> None:
    assert gflowd("--version") == (0, f"gflowd {__version__}\n", "")
    status, out, _ = gflowd("--help")
    assert status == 0
    assert all(f"  {name}" in out and summary in out for name, (_, _, summary) in main.COMMANDS.items())


@pytest.mark.parametrize("name", main.COMMANDS)
def test_every_verb_has_help(name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as ended:
        main.main([name, "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: gflowd {name}")
    assert max(map(len, shown.splitlines())) <= 80


def test_the_options_set_settings_that_exist() -> None:
    from gflowd.daemon import launch

    assert {setting for _, _, setting, _, _ in launch._OPTIONS} <= set(settings.BY_NAME)


def test_ours_to_blame_is_one_line_unless_asked_for_more(
    gflowd: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_name: str) -> None:
        raise RuntimeError("odd")

    monkeypatch.setattr(main, "parser", broken)
    assert main.main(["stop"]) == 3
    assert capsys.readouterr().err == "gflowd: internal error: RuntimeError: odd (GFLOW_DEBUG=1 shows where)\n"
    monkeypatch.setenv("GFLOW_DEBUG", "1")
    main.main(["stop"])
    assert "Traceback" in capsys.readouterr().err


def test_completions_are_installed_and_removed(gflowd: Run, tmp_path: Path) -> None:
    (tmp_path / "fish").symlink_to("/bin/true")
    file = tmp_path / ".config/fish/completions/gflowd.fish"
    status, out, _ = gflowd("completion", "install", PATH=str(tmp_path))
    assert (status, out) == (0, f"fish: {file}\nShells that start from now on use them.\n")
    assert gflowd("completion", "install", "--uninstall") == (0, f"Removed {file}\n", "")
