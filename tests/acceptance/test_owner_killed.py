"""On the embedded log, what a killed owner led goes on at once in the owner that waits, which says meanwhile whom it waits for."""

from __future__ import annotations

from kit.shell import Shell

FOREVER = "1h"
"""A session so long that nobody lives to see it run out here."""


def test_an_owner_that_waits_says_for_whom_and_takes_over_as_soon_as_that_one_is_killed(shell: Shell) -> None:
    shell.done("namespace", "create", "--partitions", "1")
    first = shell.background("owner", "app:registry", "--session-timeout", FOREVER, "--store", "first")
    shell.until(lambda: "leading with claim 1" in shell.outputs(), "an owner that leads")
    shell.background("owner", "app:registry", "--session-timeout", FOREVER, "--store", "second")
    shell.until(lambda: "this owner leads nothing yet: partition 0 is held by owner " in shell.outputs(), "what the other one says")
    first.kill()
    shell.until(lambda: "leading with claim 2" in shell.outputs(), "the other one to lead")
