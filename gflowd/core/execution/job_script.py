"""The shell text of a job: `job.sh`, which starts it and records how it ended, and its environment as a script.

Bytes, not text: what users put into names, paths and variables need not be UTF-8.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass

from gflowd.core.execution import resource_limits

_LETTER_L = re.compile(rb"-[A-Za-z]*l[A-Za-z]*")
_NAME = re.compile(rb"[A-Za-z_][A-Za-z0-9_]*")

# Names that some shells reserve and refuse or misread in `export`; they are passed by env(1) instead.
_SHELLS_OWN = frozenset(
    (
        b"BASHOPTS", b"BASHPID", b"BASH_ALIASES", b"BASH_ARGC", b"BASH_ARGV", b"BASH_ARGV0", b"BASH_CMDS",
        b"BASH_COMMAND", b"BASH_COMPAT", b"BASH_LINENO", b"BASH_SOURCE", b"BASH_SUBSHELL", b"BASH_VERSINFO",
        b"BASH_XTRACEFD", b"COMP_WORDBREAKS", b"DIRSTACK", b"EPOCHREALTIME", b"EPOCHSECONDS", b"EUID", b"FUNCNAME",
        b"GROUPS", b"HISTCMD", b"IFS", b"LINENO", b"OPTIND", b"PIPESTATUS", b"PPID", b"RANDOM", b"SECONDS",
        b"SHELLOPTS", b"SRANDOM", b"UID",
    )
)  # fmt: skip


def quote(word: bytes) -> bytes:
    """`word` as one word of POSIX sh, whatever its bytes (but NUL)."""
    return b"'" + word.replace(b"'", b"'\\''") + b"'"


def interpreter(head: bytes) -> tuple[bytes, ...]:
    """The words before a script's own path with which the kernel runs it, from its first line (execve(2)); none where
    the line names no interpreter.
    """
    line = head.partition(b"\n")[0]
    words = line[2:].split(None, 1) if line.startswith(b"#!") else []
    return tuple(word.strip() for word in words)


def environment_script(data: bytes) -> bytes:
    """A script that exports the NUL-separated `NAME=value` strings of `data`; sourced by every job that has them.

    What sh cannot export, e.g. a function exported by bash, is passed before the command as a word of env(1), whose
    argv others may see for an instant. Variables with ordinary names never are.
    """
    exported, words = [], []
    for entry in data.split(b"\0"):
        name, equals, value = entry.partition(b"=")
        if not equals or not name:
            continue
        if _NAME.fullmatch(name) and name not in _SHELLS_OWN:
            exported.append(b"export %b=%b\n" % (name, quote(value)))
        else:
            words.append(quote(entry))
    if words:
        exported.append(b'set -- /usr/bin/env -- %b "$@"\n' % b" ".join(words))
    return b"".join(exported)


@dataclass(frozen=True, slots=True)
class Emptied:
    """A file that is emptied once for a whole submission: `mark` has something in it when that is done. With `shared`
    other jobs may open the file at the same moment.
    """

    path: bytes
    mark: bytes
    shared: bool


@dataclass(frozen=True, slots=True)
class Launch:
    """What `job.sh` needs to know. Paths absolute; `variables` are set over the environment's."""

    title: str
    directory: bytes
    bell: bytes
    environment: bytes
    variables: tuple[tuple[str, bytes], ...]
    cwd: bytes
    umask: int
    command: tuple[bytes, ...]
    output: bytes | None = None
    error: bytes | None = None
    input: bytes | None = None
    append: bool = False
    limits: tuple[tuple[str, str], ...] = ()  # of resources: ulimit's letter and value
    emptied: tuple[Emptied, ...] = ()  # of output and error; without, a file is emptied each time
    cgroup: bytes | None = None
    conda_env: bytes | None = None
    tools: bytes | None = None  # a directory with an `srun` and others of Slurm's programs, put first on the PATH
    login: bool = False  # bash is to read the profiles of a login, which set a PATH of their own
    tool_names: tuple[str, ...] = ("srun",)
    scratch: bytes | None = None  # a directory of the job's own: TMPDIR, unless the environment has another
    interpreter: bytes | None = None  # of a script, by its first line
    pid_name: str | None = None  # the variable that is to hold the command's process id
    to_file: bool = False  # job.sh's own standard output is the log, and no terminal
    relay: bytes | None = None  # the directory of `gflowctl run`, which has the job's input and output, and logs that
    pty: bool = False  # there it has a terminal, not pipes
    own: bytes | None = None  # the user's part of the directory, if only root may write in `directory`; `job.sh` is in
    # the control group then, whose last process is the attempt's end, so that there is no `alive`
    remote: bool = False  # on a node of a cluster, which knows itself what lives there: no locks and named pipes, which
    # are of little use on a network's file system

    @property
    def written(self) -> bytes:
        """Where `job.sh` and the job leave what they note."""
        return self.directory if self.own is None else self.own


# What tmux, its server and the shell put into the environment of `job.sh`, none of it the submitter's.
_STRANGERS = (
    b"LC_CTYPE", b"OLDPWD", b"PATH", b"SHELL", b"SHLVL", b"TERM", b"TERM_PROGRAM", b"TERM_PROGRAM_VERSION", b"TMUX",
    b"TMUX_PANE",
)  # fmt: skip
_STRANGERS_THERE = (b"LD_LIBRARY_PATH", b"SSH_AUTH_SOCK")  # what those whom a cluster is told by need


_HEAD = b"""\
#!/bin/sh
# %(title)b. Written by gflowd.
# The file `pid` beside it says that it has begun; another copy of it ends at once. To run it by hand: rm pid exit
exec 3>&2 2>/dev/null
PATH=/usr/local/bin:/usr/bin:/bin
umask 077
dir=%(directory)b
bell=%(bell)b
cd "$dir" || exit 125
%(alone)bread -r boot </proc/sys/kernel/random/boot_id
read -r stat </proc/self/stat
begun() {
  %(pid)b
}
set -C  # only one copy of this makes the file; if there is no room for it, it goes where room was made
{ begun || { begun 1<>used && mv -fT used pid; }; } >pid || exit 0
set +C
%(begun)btrap : HUP INT QUIT ABRT USR1 USR2 PIPE ALRM TERM TSTP TTIN TTOU XCPU XFSZ VTALRM PROF IO
record() {
  # A full disk must cost neither the status nor time. Here is room that was given beforehand, and is not given back:
  # the record is written over what is there, and seen under its name as a whole or not at all.
  until printf '%%s\\n' "$1" >"$dir/exit" ||
    { printf '%%s\\n' "$1" 1<>"$dir/used" && mv -fT -- "$dir/used" "$dir/exit"; }; do
    [ -d "$dir" ] || break
    sleep 1
  done
  exec 9>&-
  [ -p "$bell" ] && printf e 1<>"$bell"
  [ -t 0 ] && exec sleep 2 <&- >&- 3>&-  # tmux drops output in flight when its child ends, not when the tty is closed
  %(end)b
}
"""
_END = b"exit"
_END_THERE = b"""case $1 in [0-9]*) exit "${1%% *}" ;; *) exit 125 ;; esac"""  # a cluster tells its own users by it

_PID_LINE = b"""printf '%s %s\\n' "$boot" "$stat\""""
_PID_LINES = (  # in one write
    b"""printf '%s %s\\n%s %s\\n' "$boot" "$stat" "${SLURM_JOB_ID-}" "${SLURMD_NODENAME-}\""""
)
_ALIVE = b"""\
exec 9<>alive
[ -p alive ] || flock 9  # a file system without named pipes
"""

BARRED = "barred"  # made by root in its part: the attempt must not run
# Root makes nothing in our part, and looks for `pid` after it has made that file.
_ALLOWED = b"""\
[ ! -e %(barred)b ] || exit 0
"""
_OWN_PIPES = b"""\
mkfifo -m 600 %(pipes)b
"""

# Where all output goes to files nobody sees a terminal, so the command gets none either: not by its standard input, and
# not by /dev/tty, where ssh or git would ask and wait for ever.
_ALONE = b"""\
[ -t 0 ] && setsid -w true && stty -isig && exec setsid -w /bin/sh %(script)b </dev/null 2>&3 3>&-
"""

# What is to be there before `job.sh` starts: room on the disk for its last words, as much as is read of them. What the
# attempt used is written over it, or its exit record, if that has no room elsewhere; or, if it could not begin
# otherwise, its first words: then the last have to wait until there is room.
RESERVE = "used"
BLANK = b" " * 4095 + b"\n"

PIPES = OUT, ERR = "out", "err"  # the named pipes beside job.sh through which a job writes to files

# Opening /dev/stdout again, as every `>/dev/stderr` does, would empty a file. So there is a pipe between the job and a
# file. The process that copies it is in a separate session, so that only the end of the last writer ends it; a full
# disk loses output but delays no process.
_COPIER = b"""\
copier='trap "" XFSZ
until cat; do
  timeout 1 cat >/dev/null && break
  echo "[gflow: output is missing here, which could not be written]"
done'
"""
# The read end is open before the copier is there, and ours is closed before the job begins: it is never without one.
# The substitution ends when the copier has left our session; until then it would be taken for what the job leaves.
_PIPE = b"""\
if [ -f /proc/self/fd/%(fd)d ] && [ -p "$dir/%(pipe)b" ] && command -v setsid >/dev/null; then
  exec 7<>"$dir/%(pipe)b" 8<"$dir/%(pipe)b"
  : "$( (setsid /bin/sh -c "exec >&4 4>&-; $copier" <&8 4>&%(fd)d 3>&- 5>&- 6>&- 7>&- 8<&- 9>&- &) )"
  exec %(fd)d>"$dir/%(pipe)b" 7>&- 8<&-
fi
"""

# Who leads a session without a terminal and opens one has it for its own (tty_open of Linux): keys that send signals,
# and its loss, reach the command. `tty` leads to an open file of gflowctl's process, never to a stranger's terminal.
_TERMINAL = b"""\
true <%(relay)b/tty || record 'launch its gflowctl run has ended'
exec 5<>%(relay)b/tty
"""
# Opened for both first, so that it never waits for the other side; after that only as what the job needs, so that the
# end of gflowctl is the end of its input, and SIGPIPE.
_PIPES = b"""\
[ -p %(relay)b/in ] && [ -p %(relay)b/out ] && [ -p %(relay)b/err ] || record 'launch its gflowctl run has ended'
exec 7<>%(relay)b/in 4<%(relay)b/in
exec 7<>%(relay)b/out 5>%(relay)b/out
exec 7<>%(relay)b/err 6>%(relay)b/err 7>&-
"""

_TAIL = b"""\
%(files)b(
%(join)b%(scratch)b  umask %(umask)04o
  unset %(strangers)b
  set -- %(command)b
  . %(environment)b
%(exports)b%(activation)b%(limits)b  gflow_unfound() { : >%(unfound)b; }
  command -v -- %(name)b >/dev/null || gflow_unfound
  trap gflow_unfound EXIT  # runs where exec fails
  exec "$@" %(redirections)b
)
code=$?
exec 4<&- 5>&- 6>&-
if [ -e "$dir/unfound" ]; then case $code in 126) code='126 not executable' ;; 127) code='127 not found' ;; esac; fi
%(oom)b%(failed)b{ times; %(counted)b:; } 1<>"$dir/used"
record "$code"
"""

# Ours is there, unless the script is run by hand. As under Slurm, one that the environment names is made if it is not.
_SCRATCH = b"""\
  [ -d %(scratch)b ] || mkdir -p %(scratch)b
"""
_TMPDIR = b"""\
  export GFLOW_JOB_TMPDIR=%(scratch)b
  [ -z "${TMPDIR-}" ] || [ -d "$TMPDIR" ] || command -p mkdir -m 700 -- "$TMPDIR" || TMPDIR=
  export TMPDIR="${TMPDIR:-"$GFLOW_JOB_TMPDIR"}"
"""

# The process of this shell becomes the command's; `$$` is that of job.sh.
_PID = b"""\
  read -r gflow_pid gflow_rest </proc/self/stat; export %b="$gflow_pid"
"""

_JOIN = b"""\
  printf 0 >%(cgroup)b/cgroup.procs
"""
_OOM = b"""\
if [ "$code" -ne 0 ] && grep -q '^oom_kill [1-9]' %(cgroup)b/memory.events; then code="$code oom"; fi
"""

_COUNTED = b"""\
read -r peak <%(cgroup)b/memory.peak && echo "peak $peak"; read -r _ cpu <%(cgroup)b/cpu.stat && echo "cpu $cpu"; """

# The submitter's, as far as the hard limits reach that gflowd was started with.
# In the job's own shell, so that the command keeps its descriptors, its signals and its exit status; in a function,
# because what is sourced may change the positional parameters. `$dir` may be the user's by now. What an eval of bad
# text ends is the shell, so the note that it is not active comes first.
_ACTIVATION = b"""\
  gflow_activate() {
    [ "${CONDA_DEFAULT_ENV-}" = %(name)b ] && return
    command -v "${CONDA_EXE:-conda}" >/dev/null || { echo "there is no ${CONDA_EXE:-conda}"; return 1; }
    eval "$("${CONDA_EXE:-conda}" shell.posix hook)" && conda activate %(name)b
  }
  gflow_activate </dev/null >>%(said)b 2>&1 && : >%(inactive)b || exit 125
"""
_ACTIVATION_FAILED = b"""\
[ -s "$dir/inactive" ] && code=%(what)b$(sed -n '/./{p;q;}' "$dir/conda" | cut -b 1-500)
"""


def job_script(launch: Launch) -> bytes:
    """The whole of `job.sh`."""
    parts = [
        _HEAD
        % {
            b"title": _one_line(launch.title),
            b"directory": quote(launch.written),
            b"bell": quote(launch.bell),
            b"alone": b"" if launch.output is None or launch.relay is not None else _alone(launch),
            b"pid": _PID_LINES if launch.remote else _PID_LINE,
            b"begun": _begun(launch),
            b"end": _END_THERE if launch.remote else _END,
        },
        b"cd %b || record %b\n" % (quote(launch.cwd), _trouble(b"cannot enter ", launch.cwd)),
        b"[ -r %b ] || record 'launch its environment is gone'\n" % quote(launch.environment),
        *_interpreted(launch),
        *_prepared_files(launch),
        b"" if launch.conda_env is None else b'echo >"$dir/inactive"; : >"$dir/conda"\n',
        _TAIL
        % {
            b"join": _of_cgroup(_JOIN, launch) if launch.own is None else b"",
            b"oom": _of_cgroup(_OOM, launch),
            b"counted": _of_cgroup(_COUNTED, launch),
            b"umask": launch.umask,
            b"strangers": b" ".join((*_STRANGERS, *_STRANGERS_THERE) if launch.remote else _STRANGERS),
            b"exports": _exports(launch) + _path(launch),
            b"scratch": _of_scratch(_SCRATCH, launch),
            b"command": b" ".join(map(quote, _command(launch))),
            b"name": quote(launch.command[0]),
            b"unfound": quote(launch.written + b"/unfound"),
            b"environment": quote(launch.environment),
            b"files": _files(launch),
            b"limits": resource_limits.script_lines(launch.limits),
            b"redirections": _redirections(launch),
            **_activation(launch),
        },
    ]
    return b"".join(parts)


def _alone(launch: Launch) -> bytes:
    own = b'"$dir/job.sh"' if launch.own is None else quote(launch.directory + b"/job.sh")
    return _ALONE % {b"script": own}


def _begun(launch: Launch) -> bytes:
    """What follows once `pid` is written."""
    if launch.remote:
        return b""
    if launch.own is None:
        return _ALIVE
    allowed = _ALLOWED % {b"barred": quote(launch.directory + b"/" + BARRED.encode())}
    names = b" ".join(name.encode() for name in pipes(launch))
    return allowed + (_OWN_PIPES % {b"pipes": names} if names else b"")


def _of_cgroup(lines: bytes, launch: Launch) -> bytes:
    """`lines` for the group's name, where there is one; one that has gone does not keep the job from running."""
    return b"" if launch.cgroup is None else lines % {b"cgroup": quote(launch.cgroup)}


def _activation(launch: Launch) -> dict[bytes, bytes]:
    if launch.conda_env is None:
        return {b"activation": b"", b"failed": b""}
    words = {
        b"name": quote(launch.conda_env),
        b"said": quote(launch.written + b"/conda"),
        b"inactive": quote(launch.written + b"/inactive"),
    }
    what = _trouble(b"conda activate ", launch.conda_env + b": ")
    return {b"activation": _ACTIVATION % words, b"failed": _ACTIVATION_FAILED % {b"what": what}}


def _one_line(title: str) -> bytes:
    return "".join(c if c.isprintable() else "?" for c in title).encode(errors="replace")


def _interpreted(launch: Launch) -> list[bytes]:
    """The kernel would say of a missing interpreter that the script is not there."""
    if launch.interpreter is None:
        return []
    why = _trouble(b"its interpreter is missing or cannot be executed: ", launch.interpreter)
    return [b"[ -x %b ] || record %b\n" % (quote(launch.interpreter), why)]


def _exports(launch: Launch) -> bytes:
    lines = [b"  export %b=%b\n" % (name.encode(), quote(value)) for name, value in launch.variables]
    lines.append(_of_scratch(_TMPDIR, launch))
    if launch.pid_name is not None:
        lines.append(_PID % launch.pid_name.encode())
    return b"".join(lines)


def _of_scratch(lines: bytes, launch: Launch) -> bytes:
    """`lines` for the job's directory for temporary files, where it has one."""
    return b"" if launch.scratch is None else lines % {b"scratch": quote(launch.scratch)}


def _path(launch: Launch) -> bytes:
    if launch.tools is None:
        return b""
    lines = b'  export PATH=%b:"${PATH:-/usr/local/bin:/usr/bin:/bin}"\n' % quote(launch.tools)
    if launch.login:  # bash reads this file after them
        after = quote(launch.tools + b"/" + AFTER_LOGIN.encode())
        lines += b'  export GFLOW_JOB_BASH_ENV="${BASH_ENV-}" BASH_ENV=%b\n' % after
    return lines


def after_login(tools: bytes) -> bytes:
    """What bash reads once it has read the profiles: the programs come first on the PATH again, and what it would have
    read otherwise.
    """
    return _AFTER_LOGIN % quote(tools)


AFTER_LOGIN = "login.bash"
_AFTER_LOGIN = b"""\
# Read by the bash of a script that begins with #!/bin/bash -l. Written by gflowd.
PATH=%b:$PATH BASH_ENV=$GFLOW_JOB_BASH_ENV
unset GFLOW_JOB_BASH_ENV
if [ -r "$BASH_ENV" ]; then . "$BASH_ENV"; elif [ -z "$BASH_ENV" ]; then unset BASH_ENV; fi
"""


def is_login(interpreter: tuple[bytes, ...]) -> bool:
    """Whether a script's interpreter is bash as for a login."""
    words = b" ".join(interpreter).split()
    names = [word.rpartition(b"/")[2] for word in words]
    return b"bash" in names and any(word == b"--login" or _LETTER_L.fullmatch(word) for word in words)


# bash runs it in a process of its own, which becomes the program: a script may signal `$!`, and wait for it.
_NOT_FOUND = (
    b'BASH_FUNC_command_not_found_handle%%%%=() { case $1 in (%b) exec %b/"$1" "${@:2}" ;; esac; '
    b'printf "%%s: line %%s: %%s: command not found\\n" "$0" "${BASH_LINENO[0]}" "$1" >&2; return 127; }'
)


def _command(launch: Launch) -> tuple[bytes, ...]:
    """The command; bash finds the tools also where what it sources sets a PATH of its own."""
    command = _plainly_named(launch.command)
    if launch.tools is None:
        return command
    names = b"|".join(name.encode() for name in launch.tool_names)
    return (b"/usr/bin/env", b"--", _NOT_FOUND % (names, quote(launch.tools)), *command)


def _plainly_named(command: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """`command`, by way of nice(1) where env(1) would take its name for a variable, or bash's exec for an option."""
    name = command[0]
    return (b"/usr/bin/nice", b"-n", b"0", b"--", *command) if b"=" in name or name.startswith(b"-") else command


def _trouble(what: bytes, path: bytes) -> bytes:
    return quote(b"launch " + what + path.replace(b"\n", b"?"))


# With the job's umask, but so that its owner may write there.
_DIRECTORY = b"""\
[ -d %(path)b ] || said=$(umask %(umask)04o; LC_ALL=C mkdir -p -- %(path)b 2>&1) || record %(why)b": ${said##*: }"
"""
# A named pipe is not opened beforehand: to close it would be the end for its reader.
_IS_PIPE = b"[ -p %(path)b ] && [ -w %(path)b ]"
# No job empties a file after another has begun to write to it.
_LOCK = b"""\
true >>%(mark)b && exec 4>>%(mark)b && flock 4
"""
_EMPTY_ONCE = b"""\
%(pipe)b || if [ -s %(mark)b ]; then true >>%(path)b
else true >%(path)b && { printf x >>%(mark)b || true; }; fi || record %(why)b
"""
_UNLOCK = b"""\
exec 4>&-
"""


def _prepared_files(launch: Launch) -> list[bytes]:
    """Opens each file once beforehand: a redirection that fails inside the job would read as the job's own failure."""
    # What it creates is opened a second time, so its owner must be able to write there.
    user, ours = b"umask %04o\n" % (launch.umask & ~0o200), b"umask 077\n"
    emptied = {} if launch.append else {each.path: each for each in launch.emptied}
    lines = [user]
    paths = dict.fromkeys(path for path in (launch.output, launch.error) if path is not None)
    for directory in dict.fromkeys(posixpath.dirname(path) for path in paths):
        why = _trouble(b"cannot create directory ", directory)
        if directory not in (launch.cwd, b"/"):
            lines.append(_DIRECTORY % {b"path": quote(directory), b"umask": launch.umask & ~0o300, b"why": why})
    for path in paths:
        why, pipe = _trouble(b"cannot write ", path), _IS_PIPE % {b"path": quote(path)}
        if (once := emptied.get(path)) is None:
            opened = b">>" if launch.append else b">"
            lines.append(b"%b || true %b%b || record %b\n" % (pipe, opened, quote(path), why))
            continue
        words = {b"mark": quote(once.mark), b"path": quote(path), b"pipe": pipe, b"why": why}
        empty = _EMPTY_ONCE % words
        lines += [ours, _LOCK % words, user, empty, _UNLOCK] if once.shared else [empty]
    if launch.input is not None:
        lines.append(b"true <%b || record %b\n" % (quote(launch.input), _trouble(b"cannot read ", launch.input)))
    return [*lines, ours]


def pipes(launch: Launch) -> tuple[str, ...]:
    """The named pipes that `job.sh` expects beside it, or makes in the user's part. If one is missing, the job writes
    to the file itself.
    """
    if launch.relay is not None:
        return ()
    out = launch.output is not None or launch.to_file
    return (OUT,) * out + (ERR,) * (launch.error is not None)


def _files(launch: Launch) -> bytes:
    """Opens 5 for the job's output and 6 for its errors, as far as these go to files or to `gflowctl run`."""
    if launch.relay is not None:
        return (_TERMINAL if launch.pty else _PIPES) % {b"relay": quote(launch.relay)}
    lines = []
    if OUT in pipes(launch):
        lines.append(b"exec 5>&1\n" if launch.output is None else b"exec 5>>%b\n" % quote(launch.output))
    if launch.error is not None:
        lines.append(b"exec 6>>%b\n" % quote(launch.error))
    copied = () if launch.remote else pipes(launch)
    pieces = [_PIPE % {b"fd": fd, b"pipe": name.encode()} for fd, name in ((5, OUT), (6, ERR)) if name in copied]
    if pieces and launch.output is not None and launch.error is not None:  # one pipe for one file: all stays in order
        pieces[1] = b"# shellcheck disable=SC3013\nif [ %b -ef %b ]; then exec 6>&5; else\n%bfi\n" % (
            quote(launch.error), quote(launch.output), pieces[1],
        )  # fmt: skip
    return b"".join([*lines, _COPIER if pieces else b"", *pieces])


def _redirections(launch: Launch) -> bytes:
    if launch.relay is not None:
        return b"<&5 >&5 2>&5 3>&- 5>&-" if launch.pty else b"<&4 >&5 2>&6 3>&- 4<&- 5>&- 6>&-"
    words = []
    if launch.input is not None or launch.output is not None:
        words.append(b"<" + quote(launch.input or b"/dev/null"))
    if OUT in pipes(launch):
        words.append(b">&5")
    if launch.error is not None:
        words.append(b"2>&6")
    else:
        words.append(b"2>&5" if OUT in pipes(launch) else b"2>&3")
    return b" ".join([*words, b"3>&- 5>&- 6>&-"])
