from __future__ import annotations

from math import inf

from machine_room import BIG, Reserved, job

from gflowd.core.occupancy import Hold, Occupancy

NOW = 1000.0


def room(*held: Hold, windows: tuple[Reserved, ...] = ()) -> Occupancy:
    made = Occupancy(BIG, (0, 1, 2, 3), NOW, windows)
    for each in held:
        made.take(each)
    return made


def test_time_goes_on_and_gives_back_what_has_ended() -> None:
    made = room(Hold("u", NOW + 10, 2, 100, (0, 1)), Hold("u", NOW + 20, 3, 200, (2,)), Hold("u", inf, 0, 0, ()))
    assert (made.cpus, made.memory_mb, made.next_end()) == (3, 700, NOW + 10)
    made.advance(NOW + 5)
    assert (made.cpus, made.memory_mb) == (3, 700)
    made.advance(NOW + 10)
    assert (made.cpus, made.memory_mb, made.next_end()) == (5, 800, NOW + 20)
    assert made.candidates(job(1, gpus=1).spec, made.now, made.now) == [0, 1, 3]
    made.advance(NOW + 20)
    assert (made.cpus, made.memory_mb, made.next_end()) == (8, 1000, inf)


def test_the_end_of_a_reservation_is_an_end_as_well() -> None:
    windows = (Reserved("v", NOW - 5, NOW + 5, gpu_list=(0,)), Reserved("u", NOW, NOW + 1, 2))
    made = room(windows=windows)
    assert made.next_end() == NOW + 1
    assert room().next_end() is None
    assert made.earliest(job(1, gpus=4).spec, 1.0) == NOW + 5


def test_a_gpu_that_is_held_but_not_available_is_nobody_elses_business() -> None:
    made = Occupancy(BIG, (1, 2), NOW)
    made.take(Hold("u", inf, 1, 0, (0, 1)))
    assert made.candidates(job(1, gpus=1).spec, NOW, NOW) == [2]
    assert made.suitable(job(1, gpus=1).spec) == 2


def test_what_is_tried_beside_others_leaves_no_trace() -> None:
    made = room(Hold("u", NOW + 10, 4, 100, (0,)))
    spec = job(1, gpus=3).spec
    assert not made.fits_beside(Hold("u", inf, 1, 0, (1, 2)), spec, NOW + 10, inf)
    assert made.fits_beside(Hold("u", inf, 1, 0, (1,)), spec, NOW + 10, inf)
    assert (made.cpus, made.memory_mb, made.candidates(spec, NOW, NOW)) == (4, 900, [1, 2, 3])
