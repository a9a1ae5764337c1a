"""A history that one version of Python wrote replays on every other, from every step on."""

import os
import subprocess
from pathlib import Path

import pytest

from kit.interpreters import interpreters

ROOT = Path(__file__).parents[4]


def _run(executable: Path, *arguments: str) -> str:
    places = os.pathsep.join(str(ROOT / name) for name in ("schemas", "sdk", "tests"))
    environment = {**os.environ, "PYTHONPATH": places, "PYTHONDONTWRITEBYTECODE": "1"}
    ran = subprocess.run([executable, "-m", "kit.recording", *arguments], env=environment, capture_output=True, text=True, check=False)
    return "" if ran.returncode == 0 else f"{ran.stdout[-4_000:]}{ran.stderr[-4_000:]}" or "it failed without a word"


@pytest.mark.timeout(1_200)
def test_a_history_replays_on_every_version_of_python_from_every_step_on(tmp_path: Path) -> None:
    try:
        found = interpreters()
    except RuntimeError as error:
        pytest.fail(str(error))
    wrong = {version: _run(executable, "record", str(tmp_path / version)) for version, executable in found.items()}
    assert not any(wrong.values()), "\n".join(f"{version} cannot record: {text}" for version, text in wrong.items() if text)
    for reader, executable in found.items():
        for writer in found:
            text = _run(executable, "replay", str(tmp_path / writer))
            assert not text, f"what {writer} wrote does not replay on {reader}:\n{text}"
