"""The bus on Apache Kafka (3.0 or newer, and not 4.3.0 to 4.4.0, see docs/kafka.md), the bus for production.

It uses aiokafka's connections, protocol types and record parser, and neither its producer nor its consumer. The
producer waits 20 and 100 ms where one millisecond is enough, cannot be closed while the broker is unavailable, and
costs several tasks a transaction. `transactional_producer` sends the requests of a transaction directly instead, and
`fetcher` reads.

`bus` is the protocol's `Bus`. `client/cluster` knows topics, leaders and coordinators, and holds connections; the
requests are in `wire/`. `writer` alternates between two transactional ids. `membership` is a member of a group, and
`shared/bus/partition_workers` runs its workers. `hanging_transactions` detects a transaction that never ends and blocks
its readers.
"""

from shared.bus.kafka.options import KafkaOptions

__all__ = ["KafkaOptions"]
