"""A job as tests submit it: the least that a spec must say; `SPEC.replace(...)` says more."""

from __future__ import annotations

from gflowd.core.job.model import Spec

SPEC = Spec(command=("x",), name="x", user="u", cwd="/", env="e", submitted_at=1.0)
