"""Creates the topics, users and privileges of Strimzi's custom resources, of the variable RESOURCES (JSON)."""

import asyncio
import json
import os
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError
from aiokafka.protocol.admin import CreateAclsRequest

RESOURCES = {"topic": 2, "group": 3, "transactionalId": 5}
PATTERNS = {"literal": 3, "prefix": 4}
OPERATIONS = {"Read": 3, "Write": 4, "Create": 5, "Delete": 6, "Alter": 7, "Describe": 8, "DescribeConfigs": 10}
ALLOW = 3
EXISTS = 36
WITHIN = 120.0


async def main() -> None:
    """Wait for the brokers, and create everything."""
    found = json.loads(os.environ["RESOURCES"])
    async with asyncio.timeout(WITHIN):
        admin = await _connected(os.environ["BROKERS"], found["brokers"])
        for topic in found["topics"]:
            await _create(admin, topic)
        for user in found["users"]:
            for acl in user["spec"]["authorization"]["acls"]:
                for operation in acl["operations"]:
                    await _allow(admin, user["metadata"]["name"], acl["resource"], operation)
    await admin.close()
    print("created", flush=True)


async def _connected(servers: str, brokers: int) -> AIOKafkaAdminClient:
    while True:
        admin = AIOKafkaAdminClient(bootstrap_servers=servers)
        try:
            await admin.start()
            if len((await admin.describe_cluster())["brokers"]) == brokers:
                return admin
        except (KafkaError, OSError):
            pass
        await admin.close()
        await asyncio.sleep(1)


async def _create(admin: AIOKafkaAdminClient, topic: dict[str, Any]) -> None:
    spec = topic["spec"]
    configs = {key: str(value) for key, value in spec["config"].items()}
    wanted = NewTopic(topic["metadata"]["name"], spec["partitions"], spec["replicas"], topic_configs=configs)
    answer = await admin.create_topics([wanted])
    errors = [error for error in answer.topic_errors if error[1] not in {0, EXISTS}]
    assert not errors, errors


async def _allow(admin: AIOKafkaAdminClient, user: str, resource: dict[str, str], operation: str) -> None:
    request = CreateAclsRequest(
        resource_type=RESOURCES[resource["type"]],
        resource_name=resource["name"],
        resource_pattern_type_filter=PATTERNS[resource["patternType"]],
        principal=f"User:{user}",
        host="*",
        operation=OPERATIONS[operation],
        permission_type=ALLOW,
    )
    answer = await admin._send_to_controller(request)
    errors = [error for error in answer.creation_responses if error[0]]
    assert not errors, errors


if __name__ == "__main__":
    asyncio.run(main())
