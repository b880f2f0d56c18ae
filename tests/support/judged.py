"""Holds whatever gflowctl writes into the snapshot against the judge of requests, which must find the same right."""

from __future__ import annotations

import json
import os
import pwd
import time
from typing import Any

from gflowd.core.admission.judge import KINDS, judge
from gflowd.core.admission.known_jobs import KnownJobs
from gflowd.core.admission.policy import OF_ONE_USER
from gflowd.core.admission.requester import Requester
from gflowd.core.errors import Refused
from gflowd.core.job.records import PROVISIONAL
from gflowd.core.request.validation import Limits
from gflowd.storage import history_queries
from gflowd.storage.history import History
from gflowd.storage.store import Commit

STAMPS = ("submitted_at", "cancelled_at", "released_at", "top_at", "at", "created_at", "once", "uid", "creator_uid")


def install() -> None:
    """From now on in this process, all that is committed is judged first."""
    enter, leave = Commit.__enter__, Commit.__exit__
    first: dict[int, int] = {}

    def entered(self: Commit) -> Commit:
        found = enter(self)
        first[id(self)] = self.next_id
        return found

    def left(self: Commit, kind: Any, *rest: object) -> None:
        put = [(name, key, value) for (name, key), value in self._records]
        is_asked = all(name in KINDS for name, _, _ in put) and not any(map(_is_of_cluster, put))
        if kind is None and put and is_asked and self._instead is None:
            try:
                _judge(self, put, first[id(self)])
            except BaseException as error:
                leave(self, type(error), error, None)
                raise
        leave(self, kind, *rest)

    Commit.__enter__, Commit.__exit__ = entered, left  # type: ignore[method-assign]


def _is_of_cluster(record: Any) -> bool:
    """Whether it is a job for a cluster, which only a gflowd of one user has, where nobody judges."""
    name, _, value = record
    return name == "spec" and isinstance(value, dict) and value.get("cluster") is not None


def _judge(commit: Commit, put: list[Any], first: int) -> None:
    uid = os.getuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = str(uid)
    asked = [(kind, _asked(key, first) if kind in ("spec", "wish", "limit") else key, _value(value, first))
             for kind, key, value in json.loads(json.dumps(put))]  # fmt: skip
    fold = commit.fold()
    requester = Requester(uid, name, is_operator=True)

    def past(job_id: int) -> Any:
        try:
            history = History(commit.store.state.history)
        except FileNotFoundError:
            return None
        found = [(key, value) for kind, key, value in history_queries.records(
            history, history_queries.within(history, job_id, job_id)) if kind == "spec"]  # fmt: skip
        return found[0] if found else None

    try:
        made = judge(asked, KnownJobs(fold), requester, OF_ONE_USER, Limits(), first, time.time(), None, past)
    except Refused as error:
        raise AssertionError(f"the judge refuses {asked}: {error}") from error
    for (kind, key, value), (_, given, wanted) in zip(made, put, strict=True):
        assert (key, _plain(value)) == (given, _plain(wanted)), ("the judge differs", kind, key, value, wanted)


def _asked(key: Any, first: int) -> Any:
    return key - first + PROVISIONAL if isinstance(key, int) and key >= first else key


def _value(value: Any, first: int) -> Any:
    if isinstance(value, dict):
        for name in ("batch", "redone_from"):
            if value.get(name) is not None:
                value[name] = _asked(value[name], first)
        for each in (value.get("needs") or {}).get("dependencies", ()):
            each["id"] = _asked(each.get("id"), first)
    return value


def _plain(value: Any) -> Any:
    found = json.loads(json.dumps(value))
    return _unstamped(found)


def _unstamped(found: Any) -> Any:
    if not isinstance(found, dict):
        return found
    return {name: _unstamped(field) for name, field in found.items() if name not in STAMPS}
