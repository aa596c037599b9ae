"""Several Kafka servers that form one cluster: who they are and where they listen."""

import base64
import secrets
from dataclasses import dataclass, field
from typing import Self

from services.standalone.embedded.process import free_port

_SAFE_REPLICAS = 3


def new_cluster_id() -> str:
    """Return sixteen random bytes as Kafka writes them."""
    return base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")


@dataclass(frozen=True, slots=True)
class KafkaNode:
    """A broker and controller in one process, on the loopback."""

    id: int
    client_port: int
    controller_port: int

    @property
    def voter(self) -> str:
        """The node as `controller.quorum.voters` names it."""
        return f"{self.id}@127.0.0.1:{self.controller_port}"


@dataclass(frozen=True, slots=True)
class KafkaCluster:
    """Nodes that form one cluster. Every one of their servers gets the same."""

    nodes: tuple[KafkaNode, ...]
    id: str = field(default_factory=new_cluster_id)

    @classmethod
    def on_free_ports(cls, size: int) -> Self:
        """Return a new cluster of nodes 1 to `size`."""
        ports: set[int] = set()
        while len(ports) < 2 * size:
            ports.add(free_port())
        return cls(tuple(KafkaNode(number, ports.pop(), ports.pop()) for number in range(1, size + 1)))

    @property
    def replicas(self) -> int:
        """Copies of each partition of Kafka's own topics."""
        return min(_SAFE_REPLICAS, len(self.nodes))

    @property
    def min_insync_replicas(self) -> int:
        """Copies that acknowledge a write: one node may be away, where there is more than one."""
        return max(1, self.replicas - 1)

    def node(self, number: int) -> KafkaNode:
        """Return a node by its id.

        Raises:
            KeyError: the cluster has no such node.
        """
        return {node.id: node for node in self.nodes}[number]
