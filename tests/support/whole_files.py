"""Lets each of xdist's workers collect only the files that it runs: else each collects them all, a minute for four.

To xdist each file is one item, which is opened when its turn has come; its tests are reported one by one, as ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

TOLD = "gflow_whole_files"
CHOOSING = ("keyword", "markexpr", "lf", "failedfirst", "stepwise", "deselect")  # options that ask for some tests


class Closed(pytest.Item):
    """The tests of a file that was not looked into."""

    def runtest(self) -> None:
        raise AssertionError("a file is opened, not run")


class File(pytest.Module):
    """A module of tests that is imported when its turn has come."""

    is_open = False

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        if self.is_open:
            return super().collect()
        return [Closed.from_parent(self, name=self.path.stem)]


class Worker(Protocol):
    """One of xdist's workers, before it begins."""

    config: pytest.Config
    workerinput: dict[str, Any]


def deal(worker: Worker) -> None:
    """Tells a worker whether it gets whole files."""
    options = worker.config.option
    chooses = any(getattr(options, name, None) for name in CHOOSING) or any("::" in word for word in worker.config.args)
    worker.workerinput[TOLD] = options.dist == "loadfile" and not chooses


def is_dealt(config: pytest.Config) -> bool:
    """Whether this process is a worker that gets whole files."""
    return bool(getattr(config, "workerinput", {}).get(TOLD))


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    return File.from_parent(parent, path=module_path)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    if not isinstance(item, Closed):
        return None
    session, place = item.session, item.session.items.index(item)
    assert isinstance(item.parent, File)
    item.parent.is_open = True
    tests = list(session.genitems(item.parent))
    item.config.hook.pytest_collection_modifyitems(session=session, config=item.config, items=tests)
    for test, following in zip(tests, [*tests[1:], nextitem], strict=False):  # there may be none
        session.items[place] = test  # a worker says only what is told of the item that it runs
        item.config.hook.pytest_runtest_protocol(item=test, nextitem=following)
        if session.shouldfail or session.shouldstop:
            break
    return True
