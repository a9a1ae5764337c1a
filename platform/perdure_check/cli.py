"""`perdure-check`: reads a namespace, writes nothing, and prints a verdict for each invariant.

Exit code 0: nothing is broken. 1: an invariant is broken. 2: the log could not be read, the command was not understood, or a namespace
that is said to be quiet is not. 141: whoever read the output has gone.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from perdure_check.address import open_source
from perdure_check.context import CLOCK_BOUND_MS, Bank, Options
from perdure_check.dump import WithCopies, keep, read_copies
from perdure_check.log import Source, Unreadable
from perdure_check.operations import read_operations
from perdure_check.quiet import check_quiet
from perdure_check.verdict import Report, State

HOLDS, BROKEN, UNREADABLE, READER_GONE = 0, 1, 2, 141
_WIDTH = 150


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit code. Whoever reads the output may leave before its end: nobody is told then."""
    try:
        try:
            return _run(arguments)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())  # the interpreter flushes once more at its end
        os.close(nowhere)
        return READER_GONE


def _run(arguments: Sequence[str] | None) -> int:
    chosen = _parser().parse_args(arguments)
    try:
        if chosen.copy_to is not None:
            print(f"{_keep(chosen)} records added to {chosen.copy_to}")
            return HOLDS
        report = _check(chosen)
    except Unreadable as error:
        print(f"perdure-check: {error}", file=sys.stderr)
        return UNREADABLE
    if chosen.json:
        print(json.dumps(report.as_json(), indent=1))
    else:
        print("\n".join(table(report)))
    return BROKEN if report.is_broken else HOLDS


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="perdure-check", description="Says for each invariant of Perdure whether a namespace keeps it.")
    parser.add_argument("--log", default=os.environ.get("PERDURE_LOG", "sqlite:///perdure.db"), help="where the log is; as for `perdure`")
    parser.add_argument(
        "--namespace", default=os.environ.get("PERDURE_NAMESPACE"), help="default: the one that the URL names, or `default`"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--quiescent", action="store_true", help="nothing is under way any more: what is not finished never will be")
    parser.add_argument(
        "--may-stay-open", default="", type=_pattern, metavar="REGEX", help="workflow ids that do not end by themselves (with --quiescent)"
    )
    parser.add_argument("--operations", action="append", type=Path, default=[], metavar="FILE", help="what drivers asked and were told")
    parser.add_argument("--summaries", type=Path, metavar="FILE", help="what `perdure workflow list --json` printed")
    parser.add_argument("--copy", action="append", type=Path, default=[], metavar="FILE", help="records copied before they were deleted")
    parser.add_argument("--copy-to", type=Path, metavar="FILE", help="add histories and commands to this copy, and check nothing")
    parser.add_argument("--bank", metavar="TYPE:SIGNAL[:DEPOSIT]", help="account workflows whose balances are to be summed")
    parser.add_argument("--bank-query", default="", metavar="QUERY[.FIELD]", help="tells how many movements an account has seen")
    parser.add_argument("--bank-total", type=int, help="what they must hold together (with --quiescent)")
    parser.add_argument("--clock-bound-ms", type=int, default=CLOCK_BOUND_MS, help="how far owners' clocks may be from the log's")
    return parser


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no regular expression: {error}") from None
    return text


def _keep(chosen: Any) -> int:
    source, named = open_source(chosen.log)
    try:
        return keep(source, chosen.namespace or named or "default", chosen.copy_to)
    except OSError as error:
        raise Unreadable(f"the copy {chosen.copy_to} cannot be written: {error.strerror or error}") from error
    finally:
        source.close()


def _check(chosen: Any) -> Report:
    options = Options(
        quiescent=chosen.quiescent,
        operations=read_operations(chosen.operations) if chosen.operations else None,
        summaries=_summaries(chosen.summaries) if chosen.summaries else None,
        bank=_bank(chosen) if chosen.bank else None,
        clock_bound_ms=chosen.clock_bound_ms,
        may_stay_open=chosen.may_stay_open,
    )
    source: Source
    source, named = open_source(chosen.log)
    try:
        if chosen.copy:
            source = WithCopies(source, read_copies(chosen.copy))
        return check_quiet(source, chosen.namespace or named or "default", options)
    finally:
        source.close()


def _summaries(place: Path) -> tuple[dict[str, Any], ...]:
    try:
        rows = json.loads(place.read_text("utf-8"))
        for row in rows:
            for field in ("workflow_id", "run_id", "status", "start_time_ms", "close_time_ms", "history_length"):
                row[field]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Unreadable(f"the summaries {place} cannot be read: {error!r}") from error
    return tuple(rows)


def _bank(chosen: Any) -> Bank:
    text: str = chosen.bank
    account_type, _, signals = text.partition(":")
    move, _, deposit = signals.partition(":")
    if not account_type or not move:
        raise Unreadable(f"--bank {text!r}: the type of the accounts and the signal that moves money were expected, as in Account:move")
    return Bank(account_type, frozenset({move}), frozenset({deposit} if deposit else ()), chosen.bank_total, chosen.bank_query)


def table(report: Report) -> list[str]:
    """The verdicts, one below the other, for people."""
    counts = report.counts
    lines = [f"namespace {report.namespace}: {report.partitions} partitions, {counts['history records']} records of history read", ""]
    marks = {State.HOLDS: "ok", State.BROKEN: "BROKEN", State.NOT_CHECKED: "-"}
    for verdict in report.verdicts:
        lines += textwrap.wrap(
            f"{verdict.invariant:<4}{marks[verdict.state]:<8}{verdict.title}: {verdict.detail}", _WIDTH, subsequent_indent=" " * 12
        )
        if verdict.state is State.BROKEN:
            for witness in verdict.witnesses:
                lines += textwrap.wrap(f"- {witness}", _WIDTH, initial_indent=" " * 12, subsequent_indent=" " * 14)
            if verdict.broken > len(verdict.witnesses):
                lines.append(f"{'':12}… and {verdict.broken - len(verdict.witnesses)} more")
    lines += [""] if report.remarks else []
    for remark in report.remarks:
        lines += textwrap.wrap(remark, _WIDTH)
    broken = [verdict.invariant for verdict in report.verdicts if verdict.state is State.BROKEN]
    unchecked = [verdict.invariant for verdict in report.verdicts if verdict.state is State.NOT_CHECKED]
    said = f"{len(broken)} broken ({', '.join(broken)})" if broken else "nothing broken"
    return [*lines, "", f"{said}; {len(unchecked)} not checked ({', '.join(unchecked)})" if unchecked else said]


if __name__ == "__main__":
    sys.exit(main())
