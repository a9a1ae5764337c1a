"""The `perdure` command with failpoints at its ports: python -m kit.faulty owner app:registry …

PERDURE_FAILPOINTS and PERDURE_FAILPOINTS_LOG are read as `kit.failpoints` says; PERDURE_FAULTY_SESSION_MS shortens the session of members;
PERDURE_FAULTY_LEADS lets their membership lie, as `kit.lying_membership` says;
PERDURE_FAULTY_LIMITS bounds what this process may have, in the words of setrlimit: FSIZE=1048576,NOFILE=64,AS=3000000000.
"""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path
from typing import cast

from kit.failpoints import LOG_VARIABLE, VARIABLE, Failpoints, FaultyLog, FaultyStores, parse
from kit.lying_membership import VARIABLE as LEADS_VARIABLE
from kit.lying_membership import LyingLog
from perdure._log.port import Log
from perdure_platform.cli import app, connection
from perdure_platform.node import embedded


def main() -> None:
    """Wrap the ports, then run the command as its users do."""
    written_to = os.environ.get(LOG_VARIABLE)
    points = Failpoints(parse(os.environ.get(VARIABLE, "")), Path(written_to) if written_to else None)
    session_timeout_ms = int(os.environ.get("PERDURE_FAULTY_SESSION_MS", "0"))
    lie = os.environ.get(LEADS_VARIABLE, "")
    names, stores = vars(connection), vars(embedded)  # the names under which the command finds its ports
    open_log, rocks = names["open_log"], stores["RocksStores"]

    def faulty_log(url: str) -> tuple[Log, str | None]:
        log, namespace = open_log(url)
        faulty = cast("Log", FaultyLog(log, points, session_timeout_ms))
        return cast("Log", LyingLog(faulty, lie)) if lie else faulty, namespace

    names["open_log"] = faulty_log
    stores["RocksStores"] = lambda *given: FaultyStores(rocks(*given), points)
    for limit in filter(None, os.environ.get("PERDURE_FAULTY_LIMITS", "").split(",")):
        name, _, number = limit.partition("=")
        if name == "FSIZE":
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # so that writing fails, as it does on a full disk
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (int(number), int(number)))
    app.main()


if __name__ == "__main__":
    main()
