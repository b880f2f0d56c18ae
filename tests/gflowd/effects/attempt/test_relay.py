"""The directory between `gflowctl run` and its job, and how each side tells that the other lives."""

from __future__ import annotations

import os
import select
from pathlib import Path

from gflowd.effects.attempt import relay


def test_it_is_held_as_long_as_its_maker_lives_and_who_watches_is_woken(tmp_path: Path) -> None:
    place = str(tmp_path / "one")
    held = relay.make(place)
    watched = relay.watch(place)
    assert watched is not None
    poll = select.poll()
    poll.register(watched, select.POLLIN)
    assert relay.is_held(place)
    assert not relay.is_over(watched)
    assert poll.poll(0) == []
    os.close(held)
    assert poll.poll(0) != []
    assert relay.is_over(watched)
    assert not relay.is_held(place)
    os.close(watched)


def test_who_writes_to_it_is_not_gflowctl_and_wakes_its_watcher_once(tmp_path: Path) -> None:
    held = relay.make(str(tmp_path / "one"))
    watched = relay.watch(str(tmp_path / "one"))
    assert watched is not None
    os.write(held, b"xx")
    assert relay.is_over(watched)
    os.close(watched)
    os.close(held)


def test_one_that_is_not_there_is_held_by_nobody(tmp_path: Path) -> None:
    assert relay.watch(str(tmp_path / "none")) is None
    assert not relay.is_held(str(tmp_path / "none"))
    relay.remove(str(tmp_path / "none"))


def test_what_the_killed_have_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    left, fresh, in_use = (str(tmp_path / name) for name in ("left", "fresh", "in-use"))
    os.close(relay.make(left))
    os.close(relay.make(fresh))
    held = relay.make(in_use, tty=0)
    for place in (left, in_use):
        os.utime(place, (1.0, 1.0))
    relay.remove_left(str(tmp_path))
    assert sorted(os.listdir(tmp_path)) == ["fresh", "in-use"]
    os.close(held)
    relay.remove_left(str(tmp_path / "none"))
