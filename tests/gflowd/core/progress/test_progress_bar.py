import pytest

from gflowd.core.progress import bar
from gflowd.core.progress.bar import Bar

FULL, HALF = "█" * 10, "████▌     "
FINE = f" 45%|{HALF}| 450/1000 [01:00<01:13,  7.50it/s]"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"\r{FINE}", Bar(0.45, "450/1000", ran=60, left=73)),
        (f"start\n\r  0%|          | 0/9 [00:00<?, ?it/s]\r{FINE}", Bar(0.45, "450/1000", ran=60, left=73)),
        (f"Train: {FINE[1:]}\n", Bar(0.45, "Train 450/1000", ran=60, left=73)),
        (f"{FINE}\nsaved the model\n", Bar(0.45, "450/1000", ran=60, left=73)),
        (f"\r100%|{FULL}| 3/3 [1:00:00<00:00, 20.0s/it, loss=0.3]", Bar(1.0, "3/3", ran=3600, left=0)),
        (f"\r 12%|{HALF}| 1.2M/9.9M [00:10<25:00:00, 1.0MB/s]", Bar(0.12, "1.2M/9.9M", ran=10, left=90000)),
        (f"\r 12%|{HALF}| 5/0 [00:10<?]", Bar(0.12, "5/0", ran=10, left=None)),
        (f"\r 12%|{HALF}| 9/5 [00:10<?, 1it/s]", Bar(0.12, "9/5", ran=10, left=None)),
        (f"\r\x1b[32mTrain:  45%|{HALF}| 9/20 [00:10<00:12, 1it/s]\x1b[0m", Bar(0.45, "Train 9/20", ran=10, left=12)),
        (f"Epochs: {FINE}", Bar(0.45, "Epochs 450/1000", ran=60, left=73)),
        (f"Epoch 0:{FINE}", Bar(0.45, "Epoch 0 450/1000", ran=60, left=73, one_of_several=True)),
        (f"[epoch: 3/9]:{FINE}", Bar(0.45, "[epoch: 3/9] 450/1000", ran=60, left=73, one_of_several=True)),
        ("", None), ("done\n", None), ("50%\n", None), (f"\r145%|{HALF}| 9/5 [00:10<?, 1it/s]", None),
        ("\r 5%|####", None),
    ],
)  # fmt: skip
def test_the_last_bar_of_a_log(text: str, found: Bar | None) -> None:
    assert bar.last(text.encode(), whole=True) == found


def test_a_bar_of_which_only_the_end_is_there_is_none() -> None:
    assert bar.last(FINE[1:].encode(), whole=False) is None
    assert bar.last(f"{FINE[1:]}\r{FINE}".encode()[1:], whole=False) == Bar(0.45, "450/1000", ran=60, left=73)


def test_of_bars_below_each_other_the_first_counts() -> None:
    outer, inner = (
        f"\r 30%|{HALF}| 3/10 [10:00<23:20, 200s/it]",
        f"\n\rin:  99%|{HALF}| 99/100 [03:18<00:02, 2s/it]\x1b[A",
    )
    assert bar.last(f"{outer}{inner}".encode(), whole=True) == Bar(0.3, "3/10", ran=600, left=1400)
    below = Bar(0.99, "in 99/100", ran=198, left=2, one_of_several=True)
    assert bar.last(f"{inner}{inner}\n\r     \x1b[A".encode(), whole=True) == below
    after_another = f"\r100%|{FULL}| 9/9 [09:00<00:00, 1s/it]\n\r 10%|{HALF}| 1/10 [00:01<00:09, 1s/it]"
    assert bar.last(after_another.encode(), whole=True) == Bar(0.1, "1/10", ran=1, left=9)
