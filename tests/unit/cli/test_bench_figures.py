import subprocess
import sys

import pytest

from bench.rebuild import measured
from bench.table import FIGURES, table
from perdure_platform.ops.bench.load import Tally

REACHED = {figure.key: next(iter(figure.must.values()), 1.0) for figure in FIGURES}


def test_quantiles_are_latencies_that_were_measured() -> None:
    tally = Tally([5.0, 1.0, 3.0, 2.0, 4.0])
    assert [tally.quantile_ms(share) for share in (0.0, 0.5, 0.99)] == [1.0, 3.0, 5.0]
    assert Tally().quantile_ms(0.5) == 0.0


def test_a_figure_at_its_bound_is_reached() -> None:
    assert table({"kafka": REACHED}, lambda line: None)


def test_a_missed_figure_is_marked_and_fails_the_table() -> None:
    lines: list[str] = []
    assert not table({"kafka": {**REACHED, "workflows_per_s": 699.0}}, lines.append)
    assert [line for line in lines if "MISSED" in line] == [line for line in lines if "699" in line]


def test_a_process_is_measured_as_a_whole_and_a_failed_one_is_no_figure() -> None:
    found = measured([sys.executable, "-c", "held = bytearray(300_000_000); print(len(held))"])
    assert found.output == "300000000\n"
    assert found.resident_mb > 250
    assert found.cpu_seconds > 0
    with pytest.raises(subprocess.CalledProcessError):
        measured([sys.executable, "-c", "raise SystemExit(1)"])
