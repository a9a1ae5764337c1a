"""The platform: owners of partitions, their stores, and the command line."""

__version__ = "0.1.0"
