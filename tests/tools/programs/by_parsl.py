"""A block of parsl: a job whose workers run functions; by default it asks for the whole node."""

import sys

import parsl
from parsl.config import Config
from parsl.executors import HighThroughputExecutor
from parsl.launchers import SingleNodeLauncher, SrunLauncher
from parsl.providers import SlurmProvider

LAUNCHERS = {"single": SingleNodeLauncher, "srun": SrunLauncher}


@parsl.python_app
def square(number):
    import os

    return number * number, os.environ["SLURM_JOB_ID"]


def main():
    provider = SlurmProvider(partition="debug", account="lab", nodes_per_block=1, init_blocks=1, max_blocks=1,
                             walltime="00:10:00", launcher=LAUNCHERS[sys.argv[1]]())  # fmt: skip
    executor = HighThroughputExecutor(
        label="slurm", address="127.0.0.1", max_workers_per_node=2, provider=provider, encrypted=False
    )
    with parsl.load(Config(executors=[executor], run_dir="runinfo", usage_tracking=0)):
        found = [future.result(timeout=150) for future in [square(number) for number in range(4)]]
    print([number for number, _ in found], len({job for _, job in found}))


if __name__ == "__main__":
    main()
