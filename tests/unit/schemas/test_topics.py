import pytest

from perdure_schemas.topics import task_queue_of, tasks_topic, workers_group


def test_queue_names_become_names_that_kafka_takes_and_no_two_are_the_same() -> None:
    assert tasks_topic("ns", "transfers-2.eu") == "ns.tasks.transfers-2.eu"
    assert tasks_topic("ns", "my queue/ä") == "ns.tasks.my_20queue_2F_C3_A4"
    assert workers_group("ns", "a_b") == "ns.workers.a_5Fb"
    assert tasks_topic("ns", "a_20b") != tasks_topic("ns", "a b")


@pytest.mark.parametrize("queue", ["transfers-2.eu", "my queue/ä", "a_b", "a_20b", "", "_"])
def test_a_topic_tells_its_queue(queue: str) -> None:
    assert task_queue_of("ns", tasks_topic("ns", queue)) == queue


@pytest.mark.parametrize("topic", ["ns.history", "other.tasks.a", "ns.tasks.a_b", "ns.tasks.a_2", "ns.tasks._FF", "ns.tasks._41"])
def test_what_is_no_topic_of_a_queue_tells_none(topic: str) -> None:
    assert task_queue_of("ns", topic) is None
