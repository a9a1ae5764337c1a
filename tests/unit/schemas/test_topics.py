from perdure_schemas.topics import tasks_topic, workers_group


def test_queue_names_become_names_that_kafka_takes_and_no_two_are_the_same() -> None:
    assert tasks_topic("ns", "transfers-2.eu") == "ns.tasks.transfers-2.eu"
    assert tasks_topic("ns", "my queue/ä") == "ns.tasks.my_20queue_2F_C3_A4"
    assert workers_group("ns", "a_b") == "ns.workers.a_5Fb"
    assert tasks_topic("ns", "a_20b") != tasks_topic("ns", "a b")
