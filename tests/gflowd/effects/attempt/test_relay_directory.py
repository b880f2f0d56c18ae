"""The directory between `gflowctl run` and its job, and how each side tells that the other lives."""

from __future__ import annotations

import os
import select
from pathlib import Path

from gflowd.effects.attempt import relay_directory


def test_it_is_held_as_long_as_its_maker_lives_and_who_watches_is_woken(tmp_path: Path) -> None:
    place = str(tmp_path / "one")
    held = relay_directory.make(place)
    watched = relay_directory.watch(place)
    assert watched is not None
    poll = select.poll()
    poll.register(watched, select.POLLIN)
    assert relay_directory.is_held(place)
    assert not relay_directory.is_over(watched)
    assert poll.poll(0) == []
    os.close(held)
    assert poll.poll(0) != []
    assert relay_directory.is_over(watched)
    assert not relay_directory.is_held(place)
    os.close(watched)


def test_who_writes_to_it_is_not_gflowctl_and_wakes_its_watcher_once(tmp_path: Path) -> None:
    held = relay_directory.make(str(tmp_path / "one"))
    watched = relay_directory.watch(str(tmp_path / "one"))
    assert watched is not None
    os.write(held, b"xx")
    assert relay_directory.is_over(watched)
    os.close(watched)
    os.close(held)


def test_one_that_is_not_there_is_held_by_nobody(tmp_path: Path) -> None:
    assert relay_directory.watch(str(tmp_path / "none")) is None
    assert not relay_directory.is_held(str(tmp_path / "none"))
    relay_directory.remove(str(tmp_path / "none"))


def test_what_the_killed_have_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    left, fresh, in_use = (str(tmp_path / name) for name in ("left", "fresh", "in-use"))
    os.close(relay_directory.make(left))
    os.close(relay_directory.make(fresh))
    held = relay_directory.make(in_use, tty=0)
    for place in (left, in_use):
        os.utime(place, (1.0, 1.0))
    relay_directory.remove_left(str(tmp_path))
    assert sorted(os.listdir(tmp_path)) == ["fresh", "in-use"]
    os.close(held)
    relay_directory.remove_left(str(tmp_path / "none"))
