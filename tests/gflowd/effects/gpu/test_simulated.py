from gflowd.effects.gpu.simulated import Simulated


def test_simulated_gpus_are_marked_as_such_and_idle() -> None:
    found = Simulated(3, 24576).poll()
    assert [gpu.index for gpu in found] == [0, 1, 2]
    assert len({gpu.uuid for gpu in found}) == 3
    assert all(gpu.simulated and "imulated" in gpu.model and "simulated" in gpu.uuid for gpu in found)
    assert {(gpu.memory_mb, gpu.used_mb, gpu.processes) for gpu in found} == {(24576, 0, ())}
    driver = Simulated(2, 1)
    assert driver.poll() == driver.poll()
    assert Simulated(3, 1).poll()[1].links == ("NV4", "X", "SYS")
    driver.close()
