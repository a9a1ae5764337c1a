"""The Log on Kafka, and on what speaks its protocol."""

from perdure._log.kafka.log import KafkaLog as KafkaLog
