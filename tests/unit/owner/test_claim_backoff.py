"""How long an owner waits before it claims again."""

from perdure_platform.node.claim_backoff import ClaimBackoff


class Clock:
    def __init__(self) -> None:
        self.ms = 0.0

    def __call__(self) -> float:
        return self.ms


def waits(backoff: ClaimBackoff, clock: Clock, count: int) -> list[float]:
    """The waits behind so many losses, each served out."""
    found = []
    for _ in range(count):
        backoff.lost()
        found.append(backoff.wait_ms())
        clock.ms += found[-1]
    return found


def test_waits_double_up_to_the_longest() -> None:
    clock = Clock()
    backoff = ClaimBackoff(100, 1_000, clock, lambda: 1.0)
    assert backoff.wait_ms() == 0.0
    assert waits(backoff, clock, 6) == [100, 200, 400, 800, 1_000, 1_000]


def test_half_of_a_wait_is_jitter() -> None:
    clock = Clock()
    assert waits(ClaimBackoff(100, 1_000, clock, lambda: 0.0), clock, 2) == [50, 100]


def test_who_has_led_for_the_longest_wait_begins_anew_however_it_ended() -> None:
    clock = Clock()
    backoff = ClaimBackoff(100, 1_000, clock, lambda: 1.0)
    waits(backoff, clock, 5)
    backoff.led(999)
    assert waits(backoff, clock, 1) == [1_000]
    backoff.led(1_000)
    assert waits(backoff, clock, 2) == [100, 200]
