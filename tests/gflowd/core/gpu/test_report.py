from dataclasses import replace

from gflowd.core.gpu.device import Gpu, GpuProcess
from gflowd.core.gpu.faults import LastingFault
from gflowd.core.gpu.report import GpuCondition, GpuNews, GpuReport, GpuUser, news

GPU = Gpu(index=0, uuid="G0", model="M", memory_mb=1)
NEVER = float("-inf")


def test_before_the_first_look_nothing_is_known() -> None:
    assert news(GpuReport()) == GpuNews(NEVER, None, None)


def test_news_are_what_decides_who_may_have_a_gpu() -> None:
    users = (GpuProcess(pid=1, graphics=True), GpuProcess(pid=2, start=3, job_id=4, memory_mb=5, user="ada"))
    gpu = GPU.replace(fault="lost", answers=False, ecc=2, processes=users)
    report = GpuReport(7.0, 6.0, "reboot", (gpu,), {"G0": LastingFault("lost", 0.0)})
    condition = GpuCondition(index=0, uuid="G0", fault="lost", answers=False, ecc=2, users=(GpuUser(2, 3, 4),))
    assert news(report) == GpuNews(6.0, "reboot", (condition,))


def test_heat_and_work_are_no_news() -> None:
    cold, warm = (
        GpuReport(begun, 6.0, None, (GPU.replace(temperature=heat),)) for begun, heat in ((7.0, 30), (8.0, 90))
    )
    assert cold != warm
    assert news(cold) == news(warm)
    assert news(replace(warm, trouble="reboot")) != news(warm)
