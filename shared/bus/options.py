"""Which bus a deployment has: the section `bus` of the settings."""

from typing import Annotated

from pydantic import Field

from shared.bus.kafka import KafkaOptions
from shared.bus.postgres import PostgresBusOptions

BusOptions = Annotated[KafkaOptions | PostgresBusOptions, Field(discriminator="kind")]
"""`kind: kafka`, or `kind: postgres`, which takes the database of the section `database`."""
