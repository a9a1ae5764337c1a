"""The pure core: no I/O, clock, randomness or logging."""
