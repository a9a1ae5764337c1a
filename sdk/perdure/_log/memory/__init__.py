"""The Log in memory: for tests, for simulation, and for what needs no more than one process."""

from perdure._log.memory.log import MemoryLog as MemoryLog
from perdure._log.memory.medium import Append as Append
from perdure._log.memory.medium import MemoryMedium as MemoryMedium
from perdure._log.memory.medium import shared_medium as shared_medium
