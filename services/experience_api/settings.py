"""The settings of this service: composes what its parts declare."""

from pydantic import Field

from services.experience_api.admission import AdmissionOptions
from services.experience_api.allow_list import Cidr
from services.experience_api.clients import VerifyOptions
from services.experience_api.connections import ConnectionsOptions
from services.experience_api.delivery import DeliveryOptions
from services.experience_api.entity import EntityOptions
from services.experience_api.tokens import TokenOptions
from shared.alerts import AlertOptions
from shared.bus.options import BusOptions
from shared.bus.postgres import PostgresBusOptions
from shared.database.options import DatabaseOptions
from shared.logs import LogOptions
from shared.settings import Options
from shared.web import ListenOptions


class ExperienceOptions(Options):
    """The section `experience`."""

    listen: ListenOptions = ListenOptions(port=8080)
    """Where subscribers, registrations and pushed events come in."""

    trusted_proxies: tuple[Cidr, ...] = ()
    """Networks of proxies whose `X-Forwarded-For` is believed. Where one is in front and not named here, every
    request comes from its address, and all share one budget of failures."""

    tokens: TokenOptions = TokenOptions()
    """The tokens that registered consumers connect with."""

    secrets: VerifyOptions = VerifyOptions()
    """How the secrets of clients are verified."""

    handshakes: AdmissionOptions = AdmissionOptions()
    """For requests for the stream."""

    registrations: AdmissionOptions = AdmissionOptions(failures=20, failures_per_second=0.5, under_way=50)
    """For calls of `/consumers`."""

    connections: ConnectionsOptions = ConnectionsOptions()
    """How the one connection of each client is kept, across replicas."""

    entity: EntityOptions = EntityOptions()
    """Events that are pushed with `POST /entity`."""

    delivery: DeliveryOptions = DeliveryOptions()
    """The stream: history, catching up, connections, drain."""

    drain_within: float = Field(default=15.0, ge=0)
    """Seconds in which subscribers are sent away when the service stops. Kubernetes kills after 30, so what follows
    must fit as well."""


class ExperienceSettings(Options):
    """What this service reads of the file."""

    database: DatabaseOptions = DatabaseOptions()
    bus: BusOptions = PostgresBusOptions()
    alerts: AlertOptions = AlertOptions()
    logs: LogOptions = LogOptions()
    experience: ExperienceOptions = ExperienceOptions()
