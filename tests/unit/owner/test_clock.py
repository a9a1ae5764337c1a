from perdure_platform.partition.clock import PartitionClock


class Monotonic:
    def __init__(self) -> None:
        self.ms = 0.0

    def __call__(self) -> float:
        return self.ms


def test_time_goes_on_between_records() -> None:
    monotonic = Monotonic()
    clock = PartitionClock(monotonic, 1_000)
    monotonic.ms = 250
    assert clock.now_ms() == 1_250
    clock.observe(2_000)
    assert clock.now_ms() == 2_000


def test_time_never_goes_back() -> None:
    monotonic = Monotonic()
    clock = PartitionClock(monotonic, 10_000)
    clock.observe(5_000)
    assert clock.now_ms() == 10_000


def test_after_a_jump_ahead_it_runs_at_half_speed_until_the_log_has_caught_up() -> None:
    monotonic = Monotonic()
    clock = PartitionClock(monotonic, 0)
    clock.observe(101_000)
    clock.observe(1_000)
    monotonic.ms = 100_000
    assert clock.now_ms() == 151_000
    monotonic.ms = 200_000
    assert clock.now_ms() == 201_000
    monotonic.ms = 210_000
    assert clock.now_ms() == 211_000


def test_being_read_a_little_late_does_not_freeze_time() -> None:
    monotonic = Monotonic()
    clock = PartitionClock(monotonic, 0)
    for second in range(1, 101):
        monotonic.ms = second * 1_000.0
        clock.observe(second * 1_000 - 3)
    assert 99_990 <= clock.now_ms() <= 100_000
