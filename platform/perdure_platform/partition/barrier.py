"""The read barrier and the end of the backlog: what may be said or timed out only after the log was asked where it ends.

One end-offset request is out at a time and serves everything that waited when it was made (design.md 3.7, R12).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from perdure._log.errors import LogUnavailable
from perdure._log.port import EndOffsetsRequest

_logger = logging.getLogger("perdure.owner")

ASK_AGAIN_MS = 100
"""The wait after a request that failed."""


@dataclass(slots=True)
class Question:
    """Something that waits for the barrier. `sequence`: every own record up to it must be confirmed first."""

    answer: Callable[[], None]
    sequence: int
    request_number: int
    history_end: int | None = None


class Barrier:
    """For one partition under one claim. `request` asks the log for the ends of its history and its commands."""

    def __init__(self, request: Callable[[], EndOffsetsRequest], ends: Callable[[EndOffsetsRequest], tuple[int, int] | None]) -> None:
        self._request = request
        self._ends = ends
        self._questions: list[Question] = []
        self._numbers_made = 0
        self._outstanding: tuple[EndOffsetsRequest, int] | None = None
        self._reads_ahead: list[tuple[int, int]] = []
        self._catch_up_wanted = True
        self._not_before_ms = 0
        self.caught_up_ms = 0

    def ask(self, answer: Callable[[], None], sequence: int) -> None:
        """Call `answer` once history has been read to an end fetched from now on, and own records to `sequence` are confirmed."""
        self._questions.append(Question(answer, sequence, self._numbers_made + 1))

    def want_catch_up(self) -> None:
        """Some deadline has passed: find out whether commands older than this moment are still unread."""
        self._catch_up_wanted = True

    @property
    def is_waiting(self) -> bool:
        """Whether a request is out, so that the loop should look again soon. One that failed is repeated by itself."""
        return self._outstanding is not None

    @property
    def is_asking_again(self) -> bool:
        """Whether a request failed, and is repeated after `ASK_AGAIN_MS`."""
        return self._outstanding is None and self._catch_up_wanted

    @property
    def questions(self) -> int:
        """How many answers wait."""
        return len(self._questions)

    def turn(self, now_ms: int, next_command_offset: int, next_history_offset: int, confirmed_sequence: int) -> bool:
        """Make and collect requests, answer what may be answered; whether `caught_up_ms` moved."""
        self._collect(now_ms)
        moved = False
        while self._reads_ahead and self._reads_ahead[0][0] <= next_command_offset:
            _, made_ms = self._reads_ahead.pop(0)
            self.caught_up_ms = max(self.caught_up_ms, made_ms)
            moved = True
        self._answer(next_history_offset, confirmed_sequence)
        if now_ms < self._not_before_ms:
            return moved
        if self._outstanding is None and (self._catch_up_wanted or any(q.history_end is None for q in self._questions)):
            self._numbers_made += 1
            self._outstanding = (self._request(), now_ms)
            self._catch_up_wanted = False
        return moved

    def _collect(self, now_ms: int) -> None:
        if self._outstanding is None:
            return
        request, made_ms = self._outstanding
        try:
            ends = self._ends(request)
        except LogUnavailable as error:
            _logger.debug("the log does not say where it ends: %s; asking again", error)
            self._outstanding = None
            self._catch_up_wanted = True
            self._not_before_ms = now_ms + ASK_AGAIN_MS
            return
        if ends is None:
            return
        self._outstanding = None
        history_end, commands_end = ends
        self._reads_ahead.append((commands_end, made_ms))
        for question in self._questions:
            if question.history_end is None and question.request_number <= self._numbers_made:
                question.history_end = history_end

    def _answer(self, next_history_offset: int, confirmed_sequence: int) -> None:
        ready = [
            q
            for q in self._questions
            if q.history_end is not None and q.history_end <= next_history_offset and q.sequence <= confirmed_sequence
        ]
        if ready:
            answered = set(map(id, ready))
            self._questions = [q for q in self._questions if id(q) not in answered]
            for question in ready:
                question.answer()
