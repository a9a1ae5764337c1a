"""Perdure: durable execution on Kafka. Workflows are ordinary async functions that run to their end, whatever crashes on the way."""

from perdure import activity, workflow
from perdure._replay.registry import Registry, RegistryError

__version__ = "0.1.0"

__all__ = ["Registry", "RegistryError", "__version__", "activity", "workflow"]
