"""`make demo`, with fewer transfers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from transfer.processes import EXAMPLES

pytestmark = pytest.mark.slow


def test_every_transfer_closes_and_every_cent_is_accounted_for(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "transfer.demo", "--transfers", "40", "--directory", str(tmp_path / "demo")]
    finished = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(EXAMPLES)}, capture_output=True, text=True, timeout=240, check=False
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "40 transfers, every one closed" in finished.stdout
    assert "kill -9" in finished.stdout
    assert "WorkflowExecutionStarted" in finished.stdout
    assert "Everything is accounted for" in finished.stdout
    check = [sys.executable, "-m", "perdure_check.cli", "--log", f"sqlite:///{tmp_path / 'demo' / 'log.db'}"]
    said = subprocess.run(check, capture_output=True, text=True, timeout=60, check=False)
    assert said.returncode == 0, said.stdout + said.stderr
