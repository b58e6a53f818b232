"""The same study on many machines: Ray places the workers, the engine's code runs the samples."""

from opensafemlrm.cluster.driver import WorkerHandle, drive
from opensafemlrm.cluster.on_ray import Cluster, run_on_ray
from opensafemlrm.cluster.worker import BatchResult, Setup, Worker, WorkerLostError

__all__ = [
    "BatchResult",
    "Cluster",
    "Setup",
    "Worker",
    "WorkerHandle",
    "WorkerLostError",
    "drive",
    "run_on_ray",
]
