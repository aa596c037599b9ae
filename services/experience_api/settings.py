"""The settings of this service, composed of what its parts declare."""

from pydantic import Field

from services.experience_api.auth.admission import AdmissionOptions
from services.experience_api.auth.tokens import TokenOptions
from services.experience_api.auth.verifier import VerifyOptions
from services.experience_api.http.entity import EntityOptions
from services.experience_api.sessions.connections import ConnectionsOptions
from services.experience_api.stream.delivery import DeliveryOptions
from shared.composition.settings import SharedSettings
from shared.http.origin import Cidr
from shared.http.server import ListenOptions
from shared.settings import Options


class ExperienceOptions(Options):
    """The section `experience`."""

    listen: ListenOptions = ListenOptions(port=8080)
    """Where subscribers, registrations and pushed events come in."""

    trusted_proxies: tuple[Cidr, ...] = ()
    """Networks of proxies whose `X-Forwarded-For` is believed. Name each proxy, one on this machine too: all requests
    through a proxy that is not named share one budget of failures, and none of them is allowed by its address. Where
    any is named, a request that none of them has forwarded is not allowed by its address either."""

    tokens: TokenOptions = TokenOptions()
    """The tokens that registered consumers connect with."""

    secrets: VerifyOptions = VerifyOptions()
    """How the secrets of clients are verified."""

    handshakes: AdmissionOptions = AdmissionOptions()
    """For requests to `/ws/publish`."""

    registrations: AdmissionOptions = AdmissionOptions(failures=20, failures_per_second=0.5, max_concurrent=50)
    """For requests to `/consumers`."""

    connections: ConnectionsOptions = ConnectionsOptions()
    """How the one connection of each client is kept, across replicas."""

    entity: EntityOptions = EntityOptions()
    """Events that are pushed with `POST /entity`."""

    delivery: DeliveryOptions = DeliveryOptions()
    """The stream: history, catching up, connections, drain."""

    drain_within: float = Field(default=15.0, ge=0)
    """Seconds in which subscribers are closed when the service stops. Kubernetes kills after 30, so the rest of the
    shutdown must fit as well."""


class ExperienceSettings(SharedSettings):
    """The sections of the file that this service reads."""

    experience: ExperienceOptions = ExperienceOptions()

    @property
    def node(self) -> str | None:
        """The name that the settings give this replica."""
        return self.experience.connections.node
