import pytest

from gflowd.core.gpu import nvml_codes


@pytest.mark.parametrize("code", sorted(nvml_codes.TROUBLES))
def test_a_trouble_is_one_line_with_its_cure(code: int) -> None:
    what, _, cure = nvml_codes.TROUBLES[code].partition("; ")
    assert what
    assert cure.startswith(("load", "install", "reboot", "allow"))


def test_a_program_s_own_error_takes_no_gpu_out() -> None:
    assert not {13, 31, 43, 45, 68} & nvml_codes.FATAL_XIDS.keys()
