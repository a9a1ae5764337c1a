"""Time-zone data is data of the machine: workflow code may look zones up, whether the machine or the package `tzdata` has them."""

from __future__ import annotations

import importlib
import shutil
import struct
import sys
import zoneinfo
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from kit.code import Code, value
from perdure import workflow
from perdure._replay import actions
from perdure._replay.host import ActivationError

ZONE = "Perdure/Somewhere"


def zone_file(offset_seconds: int) -> bytes:
    """A file of time-zone data (RFC 8536) for a zone that never changes its offset."""
    head = struct.pack(">4sc15x6l", b"TZif", b"1", 0, 0, 0, 0, 1, 4)
    return head + struct.pack(">lbb", offset_seconds, 0, 0) + b"SMW\0"


MACHINE, PACKAGE = "the machine's files", "the package tzdata"


@pytest.fixture(params=[MACHINE, PACKAGE])
def zones(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where a zone lies that nobody has looked up yet, two hours ahead of UTC."""
    package = tmp_path / "tzdata"
    place = package / "zoneinfo" / ZONE
    place.parent.mkdir(parents=True)
    place.write_bytes(zone_file(7200))
    if request.param == MACHINE:
        zoneinfo.reset_tzpath([str(package / "zoneinfo")])
    else:
        zoneinfo.reset_tzpath([])
        for directory in (package, package / "zoneinfo", place.parent):
            (directory / "__init__.py").touch()
        monkeypatch.syspath_prepend(tmp_path)
        for name in [name for name in sys.modules if name.partition(".")[0] == "tzdata"]:
            monkeypatch.delitem(sys.modules, name)
        importlib.invalidate_caches()
    zoneinfo.ZoneInfo.clear_cache()
    yield place
    zoneinfo.reset_tzpath()
    zoneinfo.ZoneInfo.clear_cache()
    for name in [name for name in sys.modules if name.partition(".")[0] == "tzdata"]:
        del sys.modules[name]
    shutil.rmtree(package)


@workflow.defn
class Zoned:
    @workflow.run
    async def run(self) -> str:
        zone = zoneinfo.ZoneInfo(ZONE)
        return datetime(2026, 7, 1, 12, tzinfo=zoneinfo.ZoneInfo(ZONE)).astimezone(zone).isoformat()


@workflow.defn
class Listed:
    @workflow.run
    async def run(self) -> int:
        return len(zoneinfo.available_timezones() & {ZONE, "nowhere"})


@workflow.defn
class Other:
    """It leaves the directory of the zones, or writes there."""

    @workflow.run
    async def run(self, suffix: str, mode: str) -> None:
        open(zoneinfo.TZPATH[0] + suffix, mode).close()  # noqa: ASYNC230 - that is the point


def test_workflow_code_may_look_up_a_time_zone(zones: Path) -> None:
    assert Code(Zoned).begin() == [actions.CompleteWorkflow(value("2026-07-01T12:00:00+02:00"))]


@pytest.mark.parametrize("zones", [MACHINE], indirect=True)
def test_workflow_code_may_ask_which_there_are(zones: Path) -> None:
    assert Code(Listed).begin() == [actions.CompleteWorkflow(value(1))]


@pytest.mark.parametrize("zones", [MACHINE], indirect=True)
@pytest.mark.parametrize(("suffix", "mode"), [("/../other", "rb"), ("-other", "r"), ("/new", "wb"), (f"/{ZONE}", "r+b")])
def test_other_files_stay_refused(zones: Path, suffix: str, mode: str) -> None:
    with pytest.raises(ActivationError, match="open is not allowed in workflow code"):
        Code(Other, (*value(suffix), *value(mode))).begin()
    assert sorted(path.name for path in zones.parents[1].iterdir()) == [zones.parent.name]
