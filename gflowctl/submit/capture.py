"""Captures what a submission needs: environment, script, working directory, files."""

from __future__ import annotations

import os
import re
import stat
import time

from gflowctl.output import render
from gflowd import paths
from gflowd.core.errors import Refused, SystemFailed
from gflowd.core.job.model import OPEN_FILES, is_lent, is_own
from gflowd.core.request.validation import LARGEST_SCRIPT, why_no_script

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Final

    from gflowd.core.job.model import GitState, Spec
    from gflowd.core.request.validation import Limits

PAGERS = (b"PAGER", b"GIT_PAGER", b"MANPAGER", b"SYSTEMD_PAGER")  # and whatever else is called so: nobody turns pages
LOGIN = (b"HOME", b"USER", b"LOGNAME", b"SHELL")
_EXPORTED = r"""\s*(?:(?P<name>[^,=\s]+=)(?P<value>'[^']*'|"[^"]*")\s*|(?P<plain>[^,]+))(?:,|$)"""
_NO_COMMANDS = {stat.S_IFDIR: "directory", stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket"}
_OF_LINES = " \t\n&|;<>"  # characters of shell lines that names of programs do not have
LITERAL = ": taken as it is written, neither ~ nor a variable stands for anything"
NO_LOGIN = "the job gets only the variables of a bare login"
# In notes, whoever reads them: what may change the result.
ALWAYS_SAID = (
    ": ignored: ",
    "; it will be looked for when the job starts",
    ": which GPUs there are is not known before gflowd has run",
    ": no GPU of this machine is so called, and it has several models",
    LITERAL,
    NO_LOGIN,
)
SHELLS = ("bash", "dash", "ksh", "sh", "zsh")
LONGEST_HEAD = 65536  # bytes of a file that is no script, in which options are looked for
ENVIRONMENTS, SCRIPTS = "env", "scripts"  # folders of the state directory
LOGIN_PATH = b"/usr/local/bin:/usr/bin:/bin"
USUAL_UMASK = b"Umask: 0022"


def tell(notes: Iterable[str], *, whoever_reads: bool = False) -> None:
    """Prints notes: some always, the others if a person may read them, or `whoever_reads`."""
    for note in notes:
        if whoever_reads or render.notes_are_read() or any(each in note for each in ALWAYS_SAID):
            render.note(note)


class Surroundings:
    """The submitter's surroundings, read once. The current directory and the environment are read on demand: the
    directory may be gone, which matters only for a job that will run there. `embedded`: in a program of the user's own,
    whose umask is left as it is, and whose environment is what it has by now, unless `environment` is given.
    """

    def __init__(self, *, embedded: bool = False, environment: Mapping[bytes, bytes] | None = None) -> None:
        self.now: Final = time.time()
        self.umask: Final = present_umask() if embedded else os.umask(0o077)
        self._embedded = embedded
        self._limits: str | None = None
        self._directory: str | None = None
        self._environment = None if environment is None else dict(environment)

    @property
    def limits(self) -> str:
        """As `soft_limits`."""
        if self._limits is None:
            self._limits = soft_limits()
        return self._limits

    @property
    def directory(self) -> str:
        """As `present_directory`."""
        if self._directory is None:
            self._directory = present_directory()
        return self._directory

    @property
    def environment(self) -> dict[bytes, bytes]:
        """As `given_environment`, or `present_environment`."""
        if self._environment is None:
            self._environment = present_environment() if self._embedded else given_environment()
        return self._environment


def soft_limits() -> str:
    """The limits of resources that are in force here, as `gflowd.core.execution.resource_limits` has them."""
    import resource

    kinds = (
        ("c", resource.RLIMIT_CORE, 512), ("d", resource.RLIMIT_DATA, 1024), ("f", resource.RLIMIT_FSIZE, 512),
        ("l", resource.RLIMIT_MEMLOCK, 1024), ("m", resource.RLIMIT_RSS, 1024), ("n", resource.RLIMIT_NOFILE, 1),
        ("s", resource.RLIMIT_STACK, 1024), ("t", resource.RLIMIT_CPU, 1), ("u", resource.RLIMIT_NPROC, 1),
        ("v", resource.RLIMIT_AS, 1024),
    )  # fmt: skip
    found = ((letter, resource.getrlimit(kind)[0], unit) for letter, kind, unit in kinds)
    return " ".join(f"{letter}{soft // unit}" for letter, soft, unit in found if soft != resource.RLIM_INFINITY)


def on_this_machine(spec: Spec, limits: Limits) -> Spec:
    """A spec that asks for all CPUs or memory, with the numbers that gflowd last saw or, before it ever ran, ours. What
    it gets is decided when it starts.
    """
    from gflowd.core.job import whole_machine

    cpus = len(os.sched_getaffinity(0)) if limits.cpus is None else limits.cpus
    memory_mb = limits.memory_mb
    if memory_mb is None:
        memory_mb = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20
    return whole_machine.resolved(spec, cpus, memory_mb)


def working_directory(chdir: str | None, around: Surroundings) -> str:
    """The job's directory, absolute. Links in `$PWD` keep their names. Raises `Refused` if it cannot be entered."""
    if chdir is None:
        return around.directory
    path = chdir if chdir.startswith("/") else os.path.join(around.directory, chdir)
    path = os.path.normpath(path) if ".." not in path.split("/") else os.path.realpath(path)
    if not os.path.isdir(path):
        raise Refused(f"--chdir: {chdir} is not a directory")
    if not os.access(path, os.X_OK):
        raise Refused(f"--chdir: {chdir} cannot be entered")
    return path


def present_directory() -> str:
    """The submitter's current directory. Raises `Refused` if it is gone."""
    named = os.environ.get("PWD", "")
    try:
        if named.startswith("/") and os.path.samefile(named, "."):
            return named
        return os.getcwd()
    except FileNotFoundError:
        try:
            return os.getcwd()
        except FileNotFoundError:
            raise Refused("the current directory is gone; cd to one that exists, or give --chdir") from None


def given_environment() -> dict[bytes, bytes]:
    """The variables that this program was started with. `os.environ` may have more: in the C locale Python adds
    LC_CTYPE to it (PEP 538), and a job would speak another language than its submitter. Without what a job that submits
    was lent, as `_without_lent`.
    """
    try:
        with open("/proc/self/environ", "rb") as file:
            pairs = (entry.partition(b"=") for entry in file.read().split(b"\0"))
    except OSError:
        pairs = ((name, b"=", value) for name, value in os.environb.items())
    found = {name: value for name, equals, value in pairs if name and equals}
    return _without_lent(found) if b"GFLOW_JOB_TMPDIR" in found else found


def present_environment() -> dict[bytes, bytes]:
    """The variables that this process has by now, whether it was started with them or has set them itself; but for a
    LC_CTYPE of Python's own, and for what a job was lent.
    """
    found = dict(os.environb)
    if found.get(b"LC_CTYPE") == b"C.UTF-8" and b"LC_CTYPE" not in given_environment():
        del found[b"LC_CTYPE"]
    return _without_lent(found) if b"GFLOW_JOB_TMPDIR" in found else found


def present_umask() -> int:
    """That of this process; to ask umask(2) for it would change it for all threads."""
    try:
        with open("/proc/self/status", "rb") as file:
            found = next((line for line in file if line.startswith(b"Umask:")), USUAL_UMASK)
    except OSError:  # a sandbox hides it
        found = USUAL_UMASK
    return int(found.split()[1], 8)


def _without_lent(environ: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """The variables of a job but for a TMPDIR that ends with it, and what it has only as a script for Slurm: the
    programs under Slurm's names, on its PATH and in a function for bash, and `ENVIRONMENT=BATCH`.
    """
    own, tools = environ.get(b"GFLOW_JOB_TMPDIR", b""), environ.get(b"GFLOW_STATE_DIR", b"") + b"/bin"
    found = {
        name: value
        for name, value in environ.items()
        if not (name == b"TMPDIR" and is_lent(os.fsdecode(value), os.fsdecode(own)))
        and not (name == b"BASH_FUNC_command_not_found_handle%%" and tools in value)
        and not (name == b"ENVIRONMENT" and value == b"BATCH" and b"SLURM_JOB_ID" in environ)
    }
    if b"PATH" in found:
        found[b"PATH"] = b":".join(place for place in found[b"PATH"].split(b":") if place != tools)
    return found


def environment(
    export: str, environ: Mapping[bytes, bytes], login: Mapping[bytes, bytes] | None = None, *, pages: bool = False
) -> list[bytes]:
    """The job's variables, each `NAME=value`, sorted. `export` is `ALL`, `NONE` or `NAME[=VALUE],...`.

    Names beside `ALL` or `NONE`, in any case, add to them; names alone are added to those of a `login`. A value in
    quotes may hold commas. Pagers are cat unless they are named, or somebody
    `pages`. Raises `Refused` for what can be no variable's name.
    """
    chosen: dict[bytes, bytes] = dict(login or {})
    words = _export_words(export)
    if "ALL" in words:
        chosen.update((name, value) for name, value in environ.items() if not is_own(os.fsdecode(name)))
    if not pages:
        chosen.update((name, b"cat") for name in (*PAGERS, *chosen) if name.endswith(b"PAGER"))
    for word in words:
        if word not in ("ALL", "NONE"):
            chosen.update(_exported(word, environ))
    return sorted(b"%b=%b" % pair for pair in chosen.items())


def is_of_login(export: str) -> bool:
    """Whether the job gets a login's variables instead of the submitter's."""
    return "ALL" not in _export_words(export)


def login(environ: Mapping[bytes, bytes]) -> tuple[dict[bytes, bytes], str | None]:
    """The variables of a login of the submitter, and a note if its profile could not be read."""
    from gflowctl.submit import login_environment

    base = login_environment.of_account() | {name: environ[name] for name in LOGIN if name in environ}
    found, why = login_environment.read({**base, b"PATH": LOGIN_PATH})
    return found, None if why is None else f"{NO_LOGIN}: {why}"


def unset(export: str, environ: Mapping[bytes, bytes]) -> list[str]:
    """The variables that `export` names but that are not set."""
    names = (word for word in _export_words(export) if word not in ("ALL", "NONE") and "=" not in word)
    return [name for name in names if os.fsencode(name) not in environ]


def _export_words(export: str) -> list[str]:
    """The parts of an `--export`, without the quotes around a value; `ALL` and `NONE` in capitals."""
    if "'" in export or '"' in export:
        found = re.finditer(_EXPORTED, export)
        words = [
            each["plain"].strip() if each["name"] is None else each["name"] + each["value"][1:-1] for each in found
        ]
    else:
        words = [word.strip() for word in export.split(",")]
    return [word.upper() if word.upper() in ("ALL", "NONE") else word for word in words if word]


def active_conda_env(variables: Iterable[bytes]) -> str | None:
    """The conda environment that is active in `variables` (`NAME=value` each), if any."""
    found = _value(b"CONDA_DEFAULT_ENV", variables)
    return found.decode(errors="replace") if found else None


def _value(name: bytes, variables: Iterable[bytes]) -> bytes | None:
    start = name + b"="
    return next((each.removeprefix(start) for each in variables if each.startswith(start)), None)


def _exported(word: str, environ: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    name, given, value = word.partition("=")
    if not re.fullmatch(r"[A-Za-z_][\w.%()-]*", name, re.ASCII) or "\0" in word:  # bash exports functions as others
        raise Refused(f"--export: {word!r} is not a variable name")
    raw = os.fsencode(name)
    if given:
        return {raw: os.fsencode(value)}
    return {raw: environ[raw]} if raw in environ else {}


def git_state(directory: str) -> GitState | None:
    """What the work tree of `directory` is at; None where it is in none, which few system calls tell."""
    whole = os.path.realpath(directory)
    place = whole.rstrip("/")
    while not os.access(f"{place}/.git", os.F_OK):
        if not place:
            return None
        place = place.rpartition("/")[0]
    from gflowctl.submit.git import work_tree

    return work_tree.read(whole)


def script_content(path: str) -> bytes | None:
    """The content of a command that is a script (`#!`), else None. A pipe is read: nothing else can be meant.

    Raises `Refused` for an existing file that cannot be run.
    """
    kind = stat.S_IFIFO if path.startswith(OPEN_FILES) else _kind(path)
    if kind == stat.S_IFIFO:
        from gflowctl.submit import streams

        return streams.script(path)
    if kind != stat.S_IFREG:
        return None
    try:
        with open(path, "rb") as file:
            head = file.read(2)
            more = file.read(LARGEST_SCRIPT if head == b"#!" else LONGEST_HEAD)
            content = head + more if head == b"#!" else None
    except OSError as error:
        if os.access(path, os.X_OK):
            return None
        raise Refused(f"{path}: {error.strerror}") from None
    if content is None:
        _check_no_script(path, head + more)
    if content is not None and len(content) > LARGEST_SCRIPT:
        raise Refused(f"{path} is larger than {LARGEST_SCRIPT >> 20} MiB, too large for a script")
    return content


def _check_no_script(path: str, beginning: bytes) -> None:
    """Raises `Refused` for a file without `#!` that nobody can run, or that has options which nobody would read."""
    if (b"SBATCH" in beginning or b"GFLOW" in beginning) and b"\0" not in beginning and _is_the_command(path):
        from gflowd.core.request import script_head

        if (number := script_head.unread(beginning)) is not None:
            raise Refused(
                f"{path}: line {number} holds options, but they would not be read: "
                "line 1 is not #! and an interpreter, such as #!/bin/bash"
            )
    if not os.access(path, os.X_OK) and _is_the_command(path):
        raise Refused(f"{path} is neither executable nor a script: {why_no_script(beginning[:3])}")


def check_shell(command: Sequence[str], cwd: str) -> str | None:
    """A note on a script that is given to a shell, where nobody reads the options that it holds."""
    if len(command) < 2 or command[0].rpartition("/")[2] not in SHELLS or "\0" in command[1]:
        return None
    path = os.path.join(cwd, command[1])
    if _kind(path) != stat.S_IFREG:
        return None
    try:
        with open(path, "rb") as file:
            beginning = file.read(LONGEST_HEAD)
    except OSError:
        return None
    if b"SBATCH" not in beginning and b"GFLOW" not in beginning:
        return None
    from gflowd.core.request import script_head

    number = script_head.unread(beginning)
    if number is None:
        return None
    return f"{command[1]}: line {number} holds options, which count only where the script itself is submitted"


def check_interpreter(name: str, content: bytes, cwd: str) -> str | None:
    """A note on a script whose interpreter (execve(2)) is not there now."""
    line = content[: content.find(b"\n")] if b"\n" in content else content
    words = line.removeprefix(b"#!").split(None, 1)
    if not words or os.access(os.path.join(os.fsencode(cwd), words[0]), os.X_OK):
        return None
    found = words[0].decode(errors="replace")
    return (
        f"{name}: its interpreter {found} is missing or cannot be executed; it will be looked for when the job starts"
    )


def _kind(path: str) -> int:
    """The type of the file that a path leads to (`stat.S_IFREG` ...); 0 where there is none."""
    try:
        return stat.S_IFMT(os.stat(path).st_mode)
    except (OSError, ValueError):
        return 0


def check_command(
    name: str, cwd: str, variables: Iterable[bytes], *, alone: bool, may_come: bool, conda: bool, many: bool
) -> str | None:
    """A note on a command that cannot be run as things stand, if there is one. `alone`: without words
    after it; `conda`: an environment may provide it; `many`: its name may hold parameters of a sweep.

    Raises `Refused` for a command that cannot work: a directory, a line of shell in one word, a missing path that
    no other job can create (`may_come`).
    """
    if many and "{" in name:
        return None
    trouble = _trouble(name, cwd, variables, alone=alone, may_come=may_come)
    if trouble is None or (conda and "/" not in name):
        return None
    return f"{trouble}; it will be looked for when the job starts"


def _trouble(name: str, cwd: str, variables: Iterable[bytes], *, alone: bool, may_come: bool) -> str | None:
    path = os.path.join(cwd, name)
    if alone and any(each in name for each in _OF_LINES) and not os.path.lexists(path):
        raise Refused(f"{name!r} is one word, not a command line; leave out the quotes, or give --wrap {_quoted(name)}")
    if "/" not in name:
        places = _value(b"PATH", variables)
        known = _is_on_path(name, LOGIN_PATH if places is None else places)
        return None if known else f"{name}: not found on the job's PATH"
    if (kind := _kind(path)) not in (0, stat.S_IFREG):
        raise Refused(f"{name} is a {_NO_COMMANDS.get(kind, 'device')}, not a command")
    if kind or os.path.lexists(path):
        return None
    if not may_come:
        raise Refused(f"{name}: there is no such file")
    return f"{name}: there is no such file yet"


def _quoted(text: str) -> str:
    import shlex

    return shlex.quote(text)


def _is_the_command(word: str) -> bool:
    """Whether `word` can only mean a file here, not a program on the PATH."""
    return "/" in word or not _is_on_path(word, os.environb.get(b"PATH", b""))


def _is_on_path(name: str, path: bytes) -> bool:
    return any(os.access(os.path.join(place, os.fsencode(name)), os.X_OK) for place in path.split(b":"))


def output_pattern(pattern: str | None, cwd: str, option: str) -> str | None:
    """`pattern` made absolute. Missing directories are created when the job starts. Raises `Refused` if open(2) would
    fail even so, as far as the path is known before the job is.
    """
    if pattern is None:
        return None
    from gflowd.core.syntax import filename_patterns

    filename_patterns.check(pattern)
    whole = pattern if pattern.startswith("/") else f"{filename_patterns.literal(cwd)}/{pattern}"
    known, rest = filename_patterns.known(whole)
    why = _why_no_file(known) if not rest else _why_no_directory(known, new="/" not in rest)
    if why is not None:
        raise Refused(f"{option} {pattern}: {why}")
    return whole


def _why_no_file(path: str) -> str | None:
    """Why a file cannot be written, or made with its directories."""
    try:
        kind = stat.S_IFMT(os.stat(path).st_mode)
    except OSError:
        return _why_no_directory(os.path.dirname(path))
    if kind in (stat.S_IFDIR, stat.S_IFSOCK):
        return f"is a {_NO_COMMANDS[kind]}"
    return None if os.access(path, os.W_OK) else "not writable"


def _why_no_directory(path: str, *, new: bool = True) -> str | None:
    """Why there can be no directory of this name, or, with `new`, nothing new in it."""
    place = path
    while place != "/" and not os.path.lexists(place):
        place = os.path.dirname(place)
    if not os.path.isdir(place):
        return f"{place} is not a directory"
    if not os.access(place, os.W_OK | os.X_OK if new or place != path else os.X_OK):
        return f"directory {place} is not writable"
    return None


def input_file(path: str | None, cwd: str) -> str | None:
    """`path` made absolute. Raises `Refused` if it cannot be read, unless it is a pattern for the files of several
    jobs.
    """
    if path is None:
        return None
    whole = os.path.join(cwd, path)
    if "%" in path and not os.path.lexists(whole):
        from gflowd.core.syntax import filename_patterns

        filename_patterns.check(path)
        return whole
    if os.path.isdir(whole):
        raise Refused(f"--input {path}: is a directory")
    if not os.access(whole, os.R_OK):
        raise Refused(f"--input {path}: {'not readable' if os.path.exists(whole) else 'no such file'}")
    return whole


def keep(
    state: paths.State, environments: Iterable[Iterable[bytes]], scripts: Iterable[bytes]
) -> list[tuple[str, bytes]]:
    """Stores what jobs need, unless it is stored already. Of many users, the gateway has to: returns what is to be sent
    to it, each with its folder.
    """
    whole = (b"".join(b"%b\0" % variable for variable in variables) for variables in environments)
    files = [*((ENVIRONMENTS, data) for data in whole), *((SCRIPTS, data) for data in scripts)]
    if state.shared is not None:
        uid = os.getuid()
        return [(folder, data) for folder, data in files if not _is_kept(_place(state, folder, data, uid), data)]
    for folder, data in files:
        _keep(state.path(folder), _place(state, folder, data, None), data, 0o600 if folder == ENVIRONMENTS else 0o700)
    return []


def _place(state: paths.State, folder: str, data: bytes, uid: int | None) -> str:
    return (state.environment if folder == ENVIRONMENTS else state.script)(paths.content_name(data), uid)


def _is_kept(path: str, data: bytes) -> bool:
    try:
        return os.stat(path, follow_symlinks=False).st_size == len(data) and take_in_use(path)
    except OSError:
        return False


def _keep(directory: str, path: str, data: bytes, mode: int) -> None:
    """Not O_EXCL on the name itself: a writer killed half-way would leave a torn file that all others trust."""
    paths.private_directory(directory)
    if _is_kept(path, data):
        return
    try:
        paths.replace_file(path, data, durable=True, mode=mode)
    except OSError as error:
        raise SystemFailed(f"{path}: {error.strerror}") from error


def take_in_use(path: str) -> bool:
    """Whether an environment or script is still kept; gflowd removes those that have not been used for long."""
    try:
        os.utime(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    except OSError:
        pass  # a file system that has become read-only
    return True
