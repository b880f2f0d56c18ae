"""Two workers of dask, each a job of its own, that compute and are cancelled with their cluster."""

from dask.distributed import Client
from dask_jobqueue import SLURMCluster


def main():
    with (
        SLURMCluster(cores=1, memory="1GB", processes=1, walltime="00:10:00", queue="debug", account="lab",
                     interface="lo", log_directory="logs") as cluster,
        Client(cluster) as client,
    ):  # fmt: skip
        cluster.scale(jobs=2)
        client.wait_for_workers(2, timeout=120)
        print(client.submit(sum, [1, 2, 3]).result(timeout=60), len(client.scheduler_info()["workers"]))


if __name__ == "__main__":
    main()
