"""A queue as one finds it on a Tuesday: what runs, waits, failed and is reserved, under a real gflowd."""

from __future__ import annotations

import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from support.waiting import eventually

from gflowd.core.job import codec
from gflowd.core.job.model import PROCESS, Ended, Run
from gflowd.storage.store import Store

if TYPE_CHECKING:
    from support.machine import Machine

HOSTILE = "<script>alert(1)</script>\x1b[31m\u202eevil"
PAST = [  # hours ago, hours that it took
    ("resnet50-warmup", (0,), 5.9, 2.1, "finished"), ("resnet50-seed-1", (0,), 3.7, 1.2, "failed"),
    ("resnet50-seed-2", (0,), 2.4, 2.2, "finished"), ("llama-eval", (1, 2), 5.5, 3.0, "finished"),
    ("llama-eval-long", (1, 2), 2.3, 1.9, "finished"), ("diffusion-smoke", (3,), 4.1, 3.8, "finished"),
    *(("probe", (3,), 5 - 0.02 * n, 0.01, "finished") for n in range(20)),
]  # fmt: skip
TRAIN = r"""
import sys, time
print("loading \x1b[32mImageNet\x1b[0m from /data/imagenet (1281167 files)")
print("<b>not bold</b> &amp; \x00\x07 \xff", flush=True)
import subprocess
for step in range(100000):
    if step in (300, 450):
        subprocess.run(['gflowctl', 'progress', f'{step / 1000:.2f}', f'epoch {step // 50}/20'])
    sys.stdout.write(f"\repoch {step // 50} [{'#' * (step % 50):<50}] loss {2.3 / (1 + step / 40):.4f}")
    if step % 50 == 49:
        print()
    sys.stdout.flush()
    time.sleep(0.1 if step > 400 else 0)
"""


def past(machine: Machine) -> None:
    """Jobs of the last hours, before gflowd starts: as it would have left them."""
    store, now = Store(machine.state), time.time()
    for name, gpu_ids, begun, took, state in PAST:
        job_id = int(machine.ctl("submit", "--parsable", "-n", name, "-g", str(len(gpu_ids)), "--", "true").stdout)
        began = now - begun * 3600
        run = Run(executor=PROCESS, launched_at=began, gpu_ids=gpu_ids)
        how = {"exit_code": 0} if state == "finished" else {"exit_code": 1, "reason": "NonZeroExit"}
        ended = Ended(state=state, ended_at=began + took * 3600, started_at=began, run=run, **how)
        with store.commit() as commit:
            commit.put("phase", job_id, codec.encode_phase(ended))


ENDED = {
    "fails": "-n eval-retrieval -g 1 -t 30m --wrap 'echo loading; echo CUDA out of memory. Tried 2 GiB; exit 1'",
    "retried": "-n laion --max-retries 1 --retry-on failure --wrap 'echo $GFLOW_ATTEMPT; test $GFLOW_ATTEMPT = 2'",
    "done": "-n tokenize -c 2 --wrap 'seq 1 20000'",
}
QUEUED = {
    "train": f"-n resnet50-baseline -P vision -g 1 -c 2 -t 8h -m 16G -- {sys.executable} -u train.py",
    "wide": "-n llama-7b-finetune -P nlp -g 2 -c 2 -t 1d -m 64G -- sleep 5000",
    "queued": "-n vit-large-pretraining-with-a-rather-long-name -P vision -g 4 -t 2d -- python3 train.py",
    "array": "-n lr-sweep -a 1-24%4 -g 1 -t 2h -- sleep 1000",
    "held": "-n big-ablation -H -g 2 -- python3 ablation.py --all",
    "later": "-n nightly-report --begin 'tomorrow 3:00' -- make report",
    "hostile": f"-n {shlex.quote(HOSTILE)} -g 2 -- sh -c 'echo \"<img src=x onerror=alert(1)>\"'",
}


def make(machine: Machine) -> dict[str, int]:
    """Submits it and waits until it has begun; the ids of jobs by what they are for."""
    (machine.work / "train.py").write_text(TRAIN)
    ids = {key: _submitted(machine, words) for key, words in ENDED.items()}
    for job_id in ids.values():
        machine.ended(job_id)
    ids |= {key: _submitted(machine, words) for key, words in QUEUED.items()}
    ids["after"] = _submitted(machine, f"-n plot-results -d afterok:{ids['queued']} -- make plots")
    machine.ctl(*shlex.split("reserve create --user daemon --gpu-list 3 --start now+1h --for 6h"))
    machine.ctl(*shlex.split("reserve create --user games --gpus 2 --for 8h --repeat daily --start 'tomorrow 9:00'"))
    machine.until(ids["train"], "running")
    log = Path(machine.state.job_log(ids["train"], 1))
    eventually(lambda: b"epoch 3" in log.read_bytes())
    return ids


def _submitted(machine: Machine, words: str) -> int:
    return int(machine.ctl("submit", "--parsable", *shlex.split(words)).stdout.partition("-")[0])
