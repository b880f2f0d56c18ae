"""Lightning's own classes for a job of Slurm's, and a training that is only a loop: torch is a stand-in.

Its trainer is asked for checkpoints only; what it does at USR1, and how it sees its job, is Lightning's code.
"""

import importlib.util
import json
import os
import sys
import time
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace


def bare(name, **members):
    """A module that holds only this, and finds its submodules where the real one would."""
    made = ModuleType(name)
    found = importlib.util.find_spec(name) if name.split(".")[0] in ("lightning_fabric", "pytorch_lightning") else None
    made.__path__ = list((found and found.submodule_search_locations) or [])
    made.__spec__ = ModuleSpec(name, None)
    made.__dict__.update(members)
    sys.modules[name] = made
    return made


def lightning():
    """SLURMEnvironment and the connector of signals, each from its own file, without the rest of Lightning."""
    for name in ("lightning_fabric", "pytorch_lightning"):
        bare(name)
    distributed = bare("torch.distributed", is_available=lambda: False)
    bare("torch", distributed=distributed)
    for name in ("lightning_fabric.plugins", "lightning_fabric.utilities", "pytorch_lightning.utilities",
                 "pytorch_lightning.trainer", "pytorch_lightning.trainer.connectors"):  # fmt: skip
        bare(name)
    bare("lightning_fabric.utilities.imports", _IS_WINDOWS=False)
    bare("pytorch_lightning.utilities.rank_zero", rank_prefixed_message=lambda text, rank: text, rank_zero_info=print)
    bare("lightning_fabric.plugins.environments")
    from lightning_fabric.plugins.environments.slurm import SLURMEnvironment

    sys.modules["lightning_fabric.plugins.environments"].SLURMEnvironment = SLURMEnvironment
    from pytorch_lightning.trainer.connectors.signal_connector import _SignalConnector

    return SLURMEnvironment, _SignalConnector


def main():
    environment_class, connector_class = lightning()
    assert environment_class.detect()
    environment = environment_class()
    number = os.environ.get("SLURM_ARRAY_TASK_ID", "")
    checkpoint = Path(f"hpc_ckpt{number}.json")
    state = json.loads(checkpoint.read_text()) if checkpoint.exists() else {"epoch": 0}
    resumed = state["epoch"]
    trainer = SimpleNamespace(
        loggers=[], default_root_dir=".", is_global_zero=environment.global_rank() == 0, local_rank=0, world_size=1,
        _accelerator_connector=SimpleNamespace(cluster_environment=environment),
        _checkpoint_connector=SimpleNamespace(hpc_save_path=lambda place: checkpoint),
        save_checkpoint=lambda path: Path(path).write_text(json.dumps(state)),
        strategy=SimpleNamespace(launcher=None),
    )  # fmt: skip
    connector_class(trainer).register_signal_handlers()
    seen = [environment.world_size(), environment.global_rank(), environment.local_rank(), environment.node_rank(),
            environment.job_id() == int(os.environ["SLURM_JOB_ID"]), environment.main_address]  # fmt: skip
    print(json.dumps(seen), flush=True)
    if not resumed:
        state["epoch"] = 3
        Path(f"training{number}").touch()
        time.sleep(600)  # the handler of USR1 requeues the job, which ends this
    print("resumed after", resumed, flush=True)


if __name__ == "__main__":
    main()
