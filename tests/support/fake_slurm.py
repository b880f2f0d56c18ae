"""Slurm's programs as a shell script that answers from files: what each was called with, and what it is to say.

The bridge to clusters calls real processes in its tests, and meets every answer that a controller can give. The real
Slurm is in `slurm_cluster`.
"""

from __future__ import annotations

from pathlib import Path

SCRIPT = """\
[ "$1" = env ] && shift 2
cd "{root}" || exit 1
trap 'echo "$*" >>calls' EXIT
[ ! -e down ] || {{ echo "$1: error: Unable to contact slurm controller" >&2; exit 1; }}
case $1 in
sbatch)
  [ ! -e refusal ] || {{ cat refusal >&2; exit 1; }}
  for word; do case $word in --comment=*) mark=${{word#*=}} ;; --array=*) array=${{word#*=}} ;; esac; done
  read -r id <next; echo $((id + 100)) >next
  echo "$id $mark $array" >>given
  [ -e mute ] || echo "$id" ;;
squeue) cat rows; echo x >>polls ;;
sinfo) echo '32|100000|infinite|usual|idle|(null)' ;;
scontrol)
  if [ "$2" = show ]; then echo "MaxArraySize = $(cat max_array)"
  elif [ -e lost_order ]; then cat lost_order >&2; exit 1; fi ;;
sacct)
  if [ -e accounted ]; then cat accounted; else
    {{ [ -e lost ] && cat lost || echo 'Slurm accounting storage is disabled'; }} >&2; exit 1; fi ;;
esac
"""


class FakeSlurm:
    """`prefix`: the words to put before its programs."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir()
        (root / "programs").write_text(SCRIPT.format(root=root))
        (root / "next").write_text("100\n")
        (root / "max_array").write_text("1001\n")
        for name in ("calls", "rows", "given", "polls"):
            (root / name).touch()
        self.prefix = ("/bin/sh", str(root / "programs"))

    def calls(self, program: str) -> list[str]:
        """What a program was called with, as far as the calls have ended: what is said later is not for them."""
        lines = (self.root / "calls").read_text().splitlines()
        return [line.partition(" ")[2] for line in lines if line.partition(" ")[0] == program]

    def given(self) -> list[list[str]]:
        """What sbatch has taken: the id, the mark and the array."""
        return [line.split() for line in (self.root / "given").read_text().splitlines()]

    def polls(self) -> int:
        """How many times squeue has answered."""
        return len((self.root / "polls").read_text().splitlines())

    def show(self, *rows: tuple[object, ...]) -> None:
        """What squeue says from now on: raw id, id, element, state, node and mark of each."""
        lines = [f"{raw}|{job}|{task}|{state}|{node}|5|N/A|None|{mark}\n" for raw, job, task, state, node, mark in rows]
        self.say("rows", "".join(lines))

    def say(self, name: str, text: str = "") -> None:
        """`down`, `refusal`, `mute`, `accounted` or what sacct or scontrol complain of, `lost`
        and `lost_order`; and `max_array`: from now on.
        """
        (self.root / f"{name}.new").write_text(text)
        (self.root / f"{name}.new").rename(self.root / name)

    def stop_saying(self, name: str) -> None:
        """As before `say`."""
        (self.root / name).unlink()
