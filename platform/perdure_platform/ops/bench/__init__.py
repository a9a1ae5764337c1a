"""Measures a transfer of two activities through whole processes: `perdure bench transfer`."""
