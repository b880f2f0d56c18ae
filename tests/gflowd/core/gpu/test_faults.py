from gflowd.core.gpu.admin_state import Resumed
from gflowd.core.gpu.device import Gpu
from gflowd.core.gpu.faults import LastingFault, Noted, judge

GOOD = Gpu(index=0, uuid="G0", model="M", memory_mb=1)
LOST = GOOD.replace(fault="lost", lasting=True, answers=False)
BUSY = GOOD.replace(fault="timeout", answers=False)


def fault(gpu: Gpu, noted: Noted, *resumed: Resumed) -> tuple[str | None, bool, Noted]:
    (judged,), after = judge([gpu], noted, resumed)
    return judged.fault, judged.lasting, after


def test_a_good_gpu_is_left_alone() -> None:
    assert judge([GOOD], {}, []) == ((GOOD,), {})


def test_one_that_was_lost_stays_faulty_until_it_answers_and_was_resumed() -> None:
    why, _, noted = fault(LOST, {})
    assert why == "lost"
    assert fault(GOOD, noted) == ("lost", True, noted)
    assert fault(GOOD, noted, Resumed("G0", 5.0, 0)) == (None, False, {})


def test_a_resume_while_it_does_not_answer_has_no_effect() -> None:
    resume = Resumed("G0", 5.0, 0)
    _, _, noted = fault(LOST, {})
    why, _, noted = fault(LOST, noted, resume)
    assert why == "lost"
    assert fault(GOOD, noted, resume)[0] == "lost"
    assert fault(GOOD, noted, Resumed("G0", 4.0, 0))[0] is None, "whichever way the clock was set"


def test_a_failure_that_may_pass_is_forgotten_when_it_has() -> None:
    why, lasting, noted = fault(BUSY, {})
    assert (why, lasting, noted) == ("timeout", False, {})
    assert fault(GOOD, noted)[0] is None
    assert fault(BUSY, {"G0": LastingFault("lost", 0.0)})[0] == "timeout"


def test_memory_errors_are_a_fault_until_they_are_accepted() -> None:
    errors = GOOD.replace(ecc=1)
    assert fault(errors, {})[:2] == ("1 uncorrectable memory error", True)
    assert fault(errors, {}, Resumed("G0", 5.0, 1))[0] is None
    assert fault(errors.replace(ecc=2), {}, Resumed("G0", 5.0, 1))[0] == "2 uncorrectable memory errors"


def test_faults_are_of_the_whole_gpu_whatever_parts_it_has() -> None:
    first, second = (GOOD.replace(uuid=f"MIG-{number}", parent="G0") for number in range(2))
    _, noted = judge([first.replace(fault="lost", lasting=True), second], {}, [])
    judged, noted = judge([first, second], noted, [Resumed("MIG-0", 5.0, 0)])
    assert [gpu.fault for gpu in judged] == ["lost", "lost"]
    assert judge([GOOD], noted, [])[0][0].fault == "lost", "it was put out of MIG mode meanwhile"
    judged, noted = judge([first, second], noted, [Resumed("G0", 5.0, 0)])
    assert ([gpu.fault for gpu in judged], noted) == ([None, None], {})
