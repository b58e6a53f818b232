"""The same study on many machines: Ray places the workers, the engine's code runs the samples."""

from opensafemlrm.cluster.on_ray import Cluster, run_on_ray

__all__ = ["Cluster", "run_on_ray"]
