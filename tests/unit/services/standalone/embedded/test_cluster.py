import pytest

from services.standalone.embedded.cluster import KafkaCluster


def test_nodes_listen_on_ports_of_their_own() -> None:
    cluster = KafkaCluster.on_free_ports(3)
    assert [node.id for node in cluster.nodes] == [1, 2, 3]
    assert len({port for node in cluster.nodes for port in (node.client_port, node.controller_port)}) == 6
    assert cluster.id != KafkaCluster.on_free_ports(1).id


@pytest.mark.parametrize(("size", "replicas", "min_insync"), [(1, 1, 1), (2, 2, 1), (3, 3, 2), (5, 3, 2)])
def test_one_node_may_be_away_where_there_are_more(size: int, replicas: int, min_insync: int) -> None:
    cluster = KafkaCluster.on_free_ports(size)
    assert (cluster.replicas, cluster.min_insync_replicas) == (replicas, min_insync)


def test_a_node_is_found_by_its_id_and_names_itself_as_a_voter() -> None:
    cluster = KafkaCluster.on_free_ports(2)
    node = cluster.node(2)
    assert node is cluster.nodes[1]
    assert node.voter == f"2@127.0.0.1:{node.controller_port}"
    with pytest.raises(KeyError):
        cluster.node(3)
