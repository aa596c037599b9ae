"""The bus on Apache Kafka (3.0 or newer, and not 4.3.0 to 4.4.0: see docs/kafka.md): the engine in production.

Everything below aiokafka's `conn`, `protocol` and `record` modules is ours: transactions are written as a straight
sequence of requests (`transactional.py`), without aiokafka's producer. That one adds 20 and 100 ms waits where a
millisecond does, cannot be closed while the broker is away, and costs several tasks a transaction. Reading is ours as
well (`fetching.py`), without aiokafka's consumer.

Flow: `bus.py` is the protocol's `Bus`; `client/cluster.py` knows topics, leaders and coordinators and holds
connections; `writer.py` lets two transactional ids take turns; `standstill.py` notices a transaction that is never
ended, which hides what lies behind it; `membership.py` is a member of a group, `partition_workers.py` beside this
package runs what it is given.
"""

from shared.bus.kafka.options import KafkaOptions

__all__ = ["KafkaOptions"]
