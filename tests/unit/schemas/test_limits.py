"""Names of task queues: one rule for every log, so that what runs on a file runs on Kafka."""

import pytest

from perdure_schemas.errors import LimitExceeded
from perdure_schemas.limits import TASK_QUEUE_CHARACTERS_MAX, check_task_queue
from perdure_schemas.topics import NAMESPACE_CHARACTERS_MAX, TOPIC_CHARACTERS_MAX, tasks_topic

LONGEST = ["q" * 142, "a-b.c" * 28, "ä" * 23 + "qqqq", "_" * 47, "\N{GRINNING FACE}" * 11 + "q" * 10]


@pytest.mark.parametrize("queue", LONGEST)
def test_the_longest_names_fit_in_a_topic_s_name(queue: str) -> None:
    assert check_task_queue(queue) == queue
    assert len(tasks_topic("n" * NAMESPACE_CHARACTERS_MAX, queue)) <= TOPIC_CHARACTERS_MAX


@pytest.mark.parametrize("queue", [name + "ä" for name in LONGEST] + ["q" * 143, "q" * 1000, "_" * 48])
def test_longer_ones_are_refused_with_what_to_do(queue: str) -> None:
    with pytest.raises(LimitExceeded, match=f"may take {TASK_QUEUE_CHARACTERS_MAX}: .* Use a shorter name"):
        check_task_queue(queue)


@pytest.mark.parametrize("queue", ["", "a\tb", "\ud800"])
def test_what_is_no_name_at_all_is_refused_as_before(queue: str) -> None:
    with pytest.raises(LimitExceeded, match="the task queue"):
        check_task_queue(queue)
