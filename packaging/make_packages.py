#!/usr/bin/env python3
"""Builds what this machine can build of gflow's packages, and says what it cannot build and why.

Debian's, Fedora's and Arch's are built in a root of Debian trixie where one can be made (as root, by mmdebstrap or
debootstrap), so that this machine stays as it is; else with what is installed here. All start from one sdist.
"""

from __future__ import annotations

import argparse
import contextlib
import glob
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, NamedTuple

import roots

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(HERE)
CACHE = os.path.join(TOP, ".packages")
# The others' formats record more than what is in the package, such as the directory where it was built.
REPRODUCIBLE = {"deb"}
BUILDER = 1000  # the user in the root: makepkg refuses root
NEEDED = (
    "bash-completion", "debhelper", "dh-python", "fakeroot", "libarchive-tools", "lintian", "makepkg",
    "pacman-package-manager", "pybuild-plugin-pyproject", "python-is-python3", "python3-all", "apprise",
    "python3-build", "python3-cronsim", "python3-filelock", "python3-hypothesis", "python3-installer",
    "python3-libtmux", "python3-orjson", "python3-prometheus-client", "python3-psutil", "python3-pytest",
    "python3-setuptools", "python3-wheel", "rpm", "tmux", "zstd", "build-essential",
)  # fmt: skip


class Cannot(Exception):
    """Why this machine cannot build something."""


class Place(NamedTuple):
    """Where packages are built: the directory `work`, which `path` names from outside, and what runs a line there."""

    work: str
    path: str
    run: Callable[[str], str]
    is_root: bool  # of Debian, not the machine itself
    check: bool

    def room(self, name: str) -> str:
        """An empty directory in it, from outside."""
        place = os.path.join(self.path, name)
        os.makedirs(place)
        return place

    def needs(self, *programs: str) -> None:
        """Raises `Cannot` if one is missing; in a root they are not."""
        if not self.is_root and (missing := [name for name in programs if shutil.which(name) is None]):
            raise Cannot(f"{', '.join(missing)} not installed")


def main() -> int:
    """0 when all that this machine can build has been built."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", default=os.path.join(TOP, "dist"), help="directory of the packages (default: dist)")
    parser.add_argument("--here", action="store_true", help="make no root of Debian; use what is installed")
    parser.add_argument("--no-check", action="store_true", help="do not run the tests while building")
    parser.add_argument("--twice", action="store_true", help="build all again, elsewhere and otherwise, and compare")
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"only these: {', '.join(KINDS)}")
    args = parser.parse_args()
    roots.clean_up_when_ended()
    if unknown := set(args.kinds) - set(KINDS):
        parser.error(f"no such kind: {', '.join(sorted(unknown))}")
    os.makedirs(args.out, exist_ok=True)
    os.environ.setdefault("SOURCE_DATE_EPOCH", str(epoch()))
    sdist = make_sdist(args.out)
    print(f"built  {os.path.basename(sdist)}, its wheel", flush=True)
    status = 0
    with place(here=args.here, check=not args.no_check) as at:
        for kind in args.kinds or KINDS:
            try:
                made = KINDS[kind](at, sdist, kind)
            except Cannot as why:
                print(f"NOT    {kind}: {why}", flush=True)
            except (roots.Failed, subprocess.CalledProcessError) as why:
                print(f"FAILED {kind}: {why}", flush=True)
                status = 1
            else:
                for path in made:
                    shutil.copy(path, args.out)
                print(f"built  {', '.join(map(os.path.basename, made))}", flush=True)
                if args.twice and not is_same_again(at, kind, sdist, made):
                    status = 1
    print(f"\n{'sha256':64}  file")
    for path in sorted(glob.glob(os.path.join(args.out, "*"))):
        print(f"{digest(path)}  {os.path.relpath(path)}")
    return status


def epoch() -> int:
    """Every date in the packages: that of the commit, in a tree without git that of Debian's changelog."""
    done = subprocess.run(["git", "-C", TOP, "log", "-1", "--format=%ct"], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return int(done.stdout)
    with open(os.path.join(HERE, "debian", "changelog"), encoding="utf-8") as file:
        found = re.search(r"(?m)^ -- .*>  (.*)$", file.read())
    assert found is not None
    return int(parsedate_to_datetime(found[1]).timestamp())


def make_sdist(out: str) -> str:
    """The sdist and its wheel, as `python -m build` makes them of this tree."""
    with tempfile.TemporaryDirectory() as fresh:
        roots.run([sys.executable, "-m", "build", "--outdir", fresh, TOP])
        (sdist,) = glob.glob(os.path.join(fresh, "*.tar.gz"))
        for path in os.listdir(fresh):
            shutil.copy(os.path.join(fresh, path), out)
        return os.path.join(out, os.path.basename(sdist))


@contextlib.contextmanager
def place(*, here: bool, check: bool) -> Iterator[Place]:
    """A root of Debian if one can be made, else a directory of this machine."""
    why = "not asked for" if here else roots.obstacle()
    if why:
        print(f"no root of Debian {roots.SUITE}: {why}; building with what is installed here", flush=True)
        with tempfile.TemporaryDirectory() as work:
            yield Place(work, work, lambda line: here_run(line, work), is_root=False, check=check)
        return
    tar = roots.archive(os.path.join(CACHE, "build.tar"), NEEDED)
    with roots.unpacked(tar, CACHE) as root:
        home = root.add_user("builder", BUILDER)
        yield Place(
            home,
            root.at(home),
            lambda line: root.run(f"export SOURCE_DATE_EPOCH={os.environ['SOURCE_DATE_EPOCH']}; cd; {line}",
                                  user=BUILDER, home=home),
            is_root=True,
            check=check,
        )  # fmt: skip


def here_run(line: str, work: str) -> str:
    """Runs a line of shell on this machine."""
    done = subprocess.run(
        ["sh", "-c", line], cwd=work, stdin=subprocess.DEVNULL, text=True, errors="replace", check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    if done.returncode:
        raise roots.Failed(f"status {done.returncode}\n{done.stdout[-3000:]}")
    return done.stdout


def give(at: Place, room: str) -> None:
    """Hands what lies in `room` to the user that builds."""
    if at.is_root:
        for base, folders, files in os.walk(room):
            for name in (".", *folders, *files):
                os.lchown(os.path.join(base, name), BUILDER, BUILDER)


def version(sdist: str) -> str:
    return os.path.basename(sdist).removeprefix("gflow-").removesuffix(".tar.gz")


def deb(at: Place, sdist: str, name: str) -> Sequence[str]:
    """Debian's packages and their source, checked by lintian."""
    at.needs("dpkg-buildpackage", "dh", "pybuild")
    room = at.room(name)
    number = version(sdist)
    shutil.copy(sdist, os.path.join(room, f"gflow_{number}.orig.tar.gz"))
    roots.run(["tar", "-C", room, "-xf", sdist])
    shutil.copytree(os.path.join(HERE, "debian"), os.path.join(room, f"gflow-{number}", "debian"))
    give(at, room)
    if not at.is_root:
        try:
            at.run(f"cd {name}/gflow-{number} && dpkg-checkbuilddeps 2>&1")
        except roots.Failed as why:
            raise Cannot(str(why).strip().rpartition("\n")[2]) from None
    setting = "unset SOURCE_DATE_EPOCH;"  # the changelog's date is the package's
    setting += "" if at.check else " export DEB_BUILD_OPTIONS=nocheck;"
    log = at.run(f"{setting} cd {name}/gflow-{number} && dpkg-buildpackage --no-sign 2>&1")
    with open(os.path.join(room, "build.log"), "w", encoding="utf-8") as file:
        file.write(log)
    fatal = "--fail-on error,warning" if at.is_root else ""  # another lintian may warn of something else
    told = at.run(f"cd {name} && lintian {fatal} --tag-display-limit 0 --display-info --pedantic *.changes")
    print(
        "".join(f"lintian: {line}\n" for line in told.splitlines()) or "lintian: nothing to say\n", end="", flush=True
    )
    return sorted(glob.glob(f"{room}/*.deb") + glob.glob(f"{room}/*.dsc") + glob.glob(f"{room}/*_*.tar.*"))


def rpm(at: Place, sdist: str, name: str) -> Sequence[str]:
    """Fedora's package, by Debian's rpmbuild with stand-ins for Fedora's macros, unless this is a Fedora."""
    at.needs("rpmbuild")
    room = at.room(name)
    shutil.copy(sdist, room)
    shutil.copy(os.path.join(HERE, "rpm", "gflow.spec"), room)
    options = "" if at.check else "--nocheck "
    if at.is_root or "pip" not in at.run("rpm --eval %{?pyproject_wheel}"):
        shutil.copy(os.path.join(HERE, "rpm", "macros.stub"), os.path.join(room, ".rpmmacros"))
        options += "--nodeps "
        if at.run("/usr/bin/python3 -c 'import build, installer, setuptools, wheel' >/dev/null 2>&1 || echo no"):
            raise Cannot("/usr/bin/python3 lacks build, installer, setuptools or wheel")
    give(at, room)
    at.run(
        f'cd {name} && HOME=$PWD rpmbuild -ba {options}--define "_topdir $PWD/top" --define "_sourcedir $PWD" '
        '--define "use_source_date_epoch_as_buildtime 1" --define "clamp_mtime_to_source_date_epoch 1" '
        '--define "_buildhost builder" gflow.spec'
    )
    return sorted(glob.glob(f"{room}/top/*RPMS/**/*.rpm", recursive=True))


def arch(at: Place, sdist: str, name: str) -> Sequence[str]:
    """Arch's package."""
    at.needs("makepkg", "python")
    if not at.is_root and os.geteuid() == 0:
        raise Cannot("makepkg does not run as root")
    room = at.room(name)
    shutil.copy(sdist, room)
    with open(os.path.join(HERE, "arch", "PKGBUILD"), encoding="utf-8") as file:
        text = re.sub(r"sha256sums=.*", f"sha256sums=('{digest(sdist)}')", file.read())
    with open(os.path.join(room, "PKGBUILD"), "w", encoding="utf-8") as file:
        file.write(text)
    give(at, room)
    check = "" if at.check else "--nocheck"
    debian = "--nodeps" if shutil.which("pacman") is None or at.is_root else ""
    at.run(f"cd {name} && DEB_PYTHON_INSTALL_LAYOUT=deb makepkg {check} {debian} --nocolor 2>&1")
    return [os.path.join(room, "PKGBUILD"), *glob.glob(f"{room}/*.pkg.tar*")]


def is_same_again(at: Place, kind: str, sdist: str, made: Sequence[str]) -> bool:
    """Whether the tree in the sdist gives that sdist again, and this in another place, time zone and umask the same
    packages; says what differs.
    """
    with tempfile.TemporaryDirectory(prefix="elsewhere-") as other:
        roots.run(["tar", "-C", other, "-xf", sdist])
        tree = os.path.join(other, os.path.basename(sdist).removesuffix(".tar.gz"))
        roots.run([sys.executable, "-m", "build", "--sdist", "--outdir", other, tree])
        copy = os.path.join(other, os.path.basename(sdist))
        otherwise = at._replace(check=False, run=lambda line: at.run(f"umask 027; export TZ=Asia/Tokyo; {line}"))
        again = KINDS[kind](otherwise, copy, f"some/where/else/{kind}")
        pairs = [(sdist, copy), *zip(made, again, strict=True)]
        wrong = [os.path.basename(one) for one, two in pairs if digest(one) != digest(two)]
    print(
        f"DIFFERS when built again: {', '.join(wrong)}" if wrong else f"same   {kind}, built again elsewhere",
        flush=True,
    )
    return not wrong


def digest(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


KINDS: dict[str, Callable[[Place, str, str], Sequence[str]]] = {"deb": deb, "rpm": rpm, "arch": arch}

if __name__ == "__main__":
    sys.exit(main())
