"""GPUs for tests: a fake NVML built from `fake_nvml/fake_nvml.c`, loaded by the real pynvml, and its file of GPUs."""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "fake_nvml" / "fake_nvml.c"
NAME = "libnvidia-ml.so.1"
VARIABLE = "FAKE_NVML"


def build(place: Path, *options: str) -> Path:
    """The library, in the directory `place`; skips the test where nothing can build it, which CI must."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        assert not os.environ.get("CI"), "no C compiler"
        pytest.skip("no C compiler to build the fake NVML with")
    made = place / NAME
    flags = ["-std=c11", "-D_GNU_SOURCE", "-O1", "-shared", "-fPIC", f"-Wl,-soname,{NAME}"]
    subprocess.run([compiler, *flags, *options, "-o", f"{made}.new", str(SOURCE)], check=True, timeout=60)
    os.replace(f"{made}.new", made)
    return made


class Cards:
    """The GPUs that the fake has, by name: `a`, `b` ... in the order of their PCI bus. Changes are seen at once."""

    def __init__(self, file: Path, count: int) -> None:
        self.file = file
        self.names = list("abcdefgh"[:count])
        self.order = list(self.names)  # NVML's
        self.uuids = {name: f"GPU-{uuid.uuid4()}" for name in self.names}  # no other test has the same
        self.fields: dict[str, dict[str, object]] = {name: {} for name in self.names}
        self.slices: dict[str, list[str]] = {}  # of a GPU that was cut up, by its name
        self.lines: tuple[str, ...] = ()
        self.write()

    def set(self, name: str, **fields: object) -> None:
        """Changes what is told of one; None takes a field away."""
        self.fields[name].update(fields)
        self.write()

    def cut(self, name: str, *profiles: str | None) -> None:
        """Puts one into MIG mode with these devices, `a0`, `a1` ... by their numbers; None leaves a number out.

        A device that is made again as it was has its UUID again; `set` takes its name too.
        """
        self.slices[name] = []
        for number, profile in enumerate(profiles):
            if profile is not None:
                part = f"{name}{number}"
                made = uuid.uuid5(uuid.UUID(self.uuids[name].removeprefix("GPU-")), f"{number} {profile}")
                self.uuids[part] = f"MIG-{made}"
                self.fields[part] = {"profile": profile, "gi": 7 + number, "ci": 0, "total": 9728}
                self.slices[name].append(part)
        self.set(name, mig=1)

    def join(self, name: str) -> None:
        """Puts one out of MIG mode."""
        del self.slices[name]
        self.set(name, mig=0)

    def say(self, *lines: str) -> None:
        """The lines beside the GPUs: `hang`, `init 18` ..."""
        self.lines = lines
        self.write()

    def reorder(self, order: str) -> None:
        """NVML's order from now on; those left out are gone."""
        self.order = list(order)
        self.write()

    def write(self) -> None:
        lines = [*self.lines]
        for name in self.order:
            bus = self.names.index(name) + 1
            lines.append(self._line("gpu", name, f"Fake-{name.upper()}", f"0:{bus:x}:0"))
        for place, name in enumerate(self.order):
            lines += [
                self._line("slice", part, str(self.fields[part]["profile"]), f"{place:x}:{part[1:]}:0")
                for part in self.slices.get(name, ())
            ]
        new = self.file.with_suffix(".new")
        new.write_text("\n".join(lines) + "\n")
        os.replace(new, self.file)

    def _line(self, kind: str, name: str, *words: str) -> str:
        fields = (f"{key}={value}" for key, value in self.fields[name].items() if value is not None)
        return " ".join([kind, self.uuids[name], *words, *fields])


def address(cards: Cards, names: str) -> str:
    """The PCI addresses of cards, as `nvlinks` takes them."""
    return ",".join(f"0:{cards.names.index(name) + 1:x}:0" for name in names)
