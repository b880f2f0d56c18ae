"""What simple_slurm's README shows."""

import datetime
import time

from simple_slurm import Slurm


def main():
    slurm = Slurm(array=range(3), cpus_per_task=2, job_name="simple", time=datetime.timedelta(minutes=5),
                  output=f"simple-{Slurm.JOB_ARRAY_MASTER_ID}_{Slurm.JOB_ARRAY_ID}.out")  # fmt: skip
    slurm.add_cmd("echo task $SLURM_ARRAY_TASK_ID")
    array = slurm.sbatch("echo cpus", Slurm.SLURM_CPUS_PER_TASK)
    after = Slurm(dependency={"afterok": array}, output="after.out", wait=True).sbatch("echo after")
    sleeper = Slurm(job_name="sleeper", output="/dev/null")
    number = sleeper.sbatch("sleep 600")
    sleeper.squeue.update_squeue()
    seen = sleeper.squeue.jobs[number]
    sleeper.scancel.cancel_job(number)
    while number in sleeper.squeue.jobs:
        time.sleep(0.1)
        sleeper.squeue.update_squeue()
    print(type(array).__name__, after - array, seen["NAME"], seen["ST"] in ("PD", "CF", "R"))


if __name__ == "__main__":
    main()
