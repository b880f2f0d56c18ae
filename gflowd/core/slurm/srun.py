"""The srun that scripts written for Slurm find: runs their command once, in the job that they already have.

Ignores what matters only to several tasks or machines; refuses more than one task, and what it cannot do.
"""

from __future__ import annotations

from gflowd.core.slurm import sbatch_options

_OWN_FLAGS = {
    "disable-status", "exact", "interactive", "join", "label", "multi-prog", "no-allocate", "overlap", "preserve-env",
    "pty", "quit-on-interrupt", "unbuffered", "whole",
}  # fmt: skip
_OWN_MAYBE = {"bcast", "compress", "kill-on-bad-exit", "send-libs"}
_OWN_VALUED = {
    "accel-bind", "bcast-exclude", "cpu-bind", "epilog", "het-group", "jobid", "mpi", "msg-timeout", "prolog",
    "relative", "slurmd-debug", "task-epilog", "task-prolog", "threads", "tree-width", "treewidth", "wait",
}  # fmt: skip
_NOT_SRUNS = {"batch", "array", "wait", "wrap", "ignore-pbs", "parsable", "requeue", "no-requeue"}
_SHORT = {
    **sbatch_options.SHORT, "E": "preserve-env", "K": "kill-on-bad-exit", "l": "label", "r": "relative", "T": "threads",
    "u": "unbuffered", "X": "disable-status", "Z": "no-allocate",
}  # fmt: skip
_FLAGS = (sbatch_options.FLAGS - _NOT_SRUNS) | _OWN_FLAGS | {"share"}
_MAYBE = sbatch_options.MAY_HAVE_VALUE | _OWN_MAYBE
_NAMES = {
    *sbatch_options.MEANINGFUL, *sbatch_options.WITHOUT_EFFECT, *sbatch_options.REFUSED, *sbatch_options.ALIASES,
}  # fmt: skip
_VALUED = ((_NAMES - _NOT_SRUNS) | _OWN_VALUED) - _FLAGS - _MAYBE

_TEMPLATE = r"""#!/bin/sh
# srun of a job under gflow, which has one task on one machine: runs the command once. Written by gflowd.
refuse() { printf 'srun: %s\n' "$1" >&2; exit 1; }
one() { [ "$2" = 1 ] || [ "$2" = 1-1 ] || refuse "--$1=$2: gflow starts a job's command once, on one machine"; }
file() {
  made= rest=$1
  while case $rest in *%*) ;; *) false ;; esac; do
    made=$made${rest%%\%*} rest=${rest#*%}
    code=${rest%"${rest#?}"} rest=${rest#?}
    case $code in
      j) code=$SLURM_JOB_ID ;;
      J) code=$SLURM_JOB_ID.0 ;;
      A) code=${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID} ;;
      a) code=${SLURM_ARRAY_TASK_ID:-0} ;;
      x) code=$SLURM_JOB_NAME ;;
      u) code=$(id -un) ;;
      N) code=$(uname -n) code=${code%%.*} ;;
      n | s | t) code=0 ;;
      '%') ;;
      *) code=%$code ;;
    esac
    made=$made$code
  done
  made=$made$rest
  case $1 in none) made=/dev/null ;; all | 0) made= ;; esac
}
give() {
  case $1 in
    ALL | '') return ;;
    NONE) refuse '--export=NONE: gflow gives a step the variables of its job' ;;
  esac
  name=${1%%=*}
  case $name in *[!A-Za-z0-9_]* | '' | [0-9]*) refuse "--export: $name is not a variable name" ;; esac
  case $1 in *=*) export "$name=${1#*=}" ;; esac
}
output= error= input=
follow() {
  case $1 in
    ntasks | tasks | nodes | ntasks-per-node | tasks-per-node) one "$1" "$2" ;;
    output) file "$2"; output=$made ;;
    error) file "$2"; error=$made ;;
    input) file "$2"; input=$made ;;
    chdir | workdir) cd -- "$2" || exit 1 ;;
    export)
      left=$2,
      while [ -n "$left" ]; do give "${left%%,*}"; left=${left#*,}; done
      ;;
    jobid) [ "$2" = "$SLURM_JOB_ID" ] || refuse "--jobid=$2: not this job" ;;
    container | container-id | het-group | multi-prog | no-allocate) refuse "--$1: not under gflow" ;;
    version) echo "srun of gflow"; exit ;;
    help | usage) echo "Usage: srun [OPTIONS] COMMAND [ARG ...]: runs COMMAND once; see gflow(7)"; exit ;;
  esac
}
while [ $# -gt 0 ]; do
  word=$1
  case $word in
    --) shift; break ;;
    --*=*) option=${word%%=*} value=${word#*=} ;;
    --*) option=$word value= ;;
    -?*)
      letter=${word#-} letter=${letter%"${letter#?}"} value=${word#-?}
      case $letter in
LETTERS
        *) refuse "-$letter: not an option of srun" ;;
      esac
      ;;
    *) break ;;
  esac
  shift
  case ${option#--} in
    FLAGS)
      case $word in -[!-]?*) set -- "-$value" "$@" ;; esac
      value=
      ;;
    MAYBE) ;;
    VALUED)
      case $word in
        --*=* | -[!-]?*) ;;
        *) [ $# -gt 0 ] || refuse "$word: its value is missing"; value=$1; shift ;;
      esac
      ;;
    *) refuse "$word: not an option of srun" ;;
  esac
  follow "${option#--}" "$value"
done
[ $# -gt 0 ] || refuse 'nothing to run'
[ -z "$input" ] || exec <"$input" || exit 1
[ -z "$output" ] || exec >"$output" || exit 1
if [ -n "$error" ]; then exec 2>"$error" || exit 1; elif [ -n "$output" ]; then exec 2>&1; fi
export SLURM_STEP_ID=0 SLURM_STEPID=0 SLURM_PROCID=0 SLURM_LOCALID=0 SLURM_NODEID=0 SLURM_NTASKS=1 SLURM_NPROCS=1
exec "$@"
"""


def script() -> bytes:
    """The whole script."""
    letters = [f"        {letter}) option=--{name} ;;" for letter, name in sorted(_SHORT.items())]
    names = {"FLAGS": _FLAGS, "MAYBE": _MAYBE, "VALUED": _VALUED}
    text = _TEMPLATE.replace("LETTERS", "\n".join(letters))
    for place, found in names.items():
        text = text.replace(f"    {place})", f"    {' | '.join(sorted(found))})")
    return text.encode()
