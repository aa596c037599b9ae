"""The settings of this service, composed of what its parts declare."""

from typing import Self

from pydantic import Field, model_validator

from services.experience_api.admin.options import AdminOptions
from services.experience_api.auth.admission import AdmissionOptions
from services.experience_api.auth.tokens import TokenOptions
from services.experience_api.auth.verifier import VerifyOptions
from services.experience_api.http.entity import EntityOptions
from services.experience_api.http.pages import PageOrigin
from services.experience_api.latest.options import LatestOptions
from services.experience_api.presence.options import PresenceOptions
from services.experience_api.sessions.options import ConnectionsOptions
from services.experience_api.stream.auditing.writing import AuditOptions
from services.experience_api.stream.options import DeliveryOptions
from shared.composition.settings import SharedSettings
from shared.http.origin import Cidr
from shared.http.server import ListenOptions
from shared.runtime.run import SHUTDOWN_TIMEOUT
from shared.settings import Options

_DRAIN_LIMIT = SHUTDOWN_TIMEOUT - 3.0
"""Seconds; the rest of the shutdown takes some as well."""


class ExperienceOptions(Options):
    """The section `experience`."""

    listen: ListenOptions = ListenOptions(port=8080)
    """Where subscribers, registrations and pushed events come in."""

    trusted_proxies: tuple[Cidr, ...] = ()
    """Networks of proxies whose `X-Forwarded-For` is believed. Name each proxy, one on this machine too: all requests
    through a proxy that is not named share one budget of failures, and none of them is allowed by its address. Where
    any is named, a request that none of them has forwarded is not allowed by its address either."""

    origins: tuple[PageOrigin, ...] | None = None
    """Origins of the pages in browsers that may use the service, such as `https://app.example.com`; `*` stands for all.
    Those may send cross-origin requests to `/consumers`, `/tickets`, `/subscriptions`, `/sse/publish` and `/events`,
    and no others may connect. Without it, no page may send such requests, and every page that has a token may open a
    WebSocket."""

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

    presence: PresenceOptions = PresenceOptions()
    """Who has connected and who has left, as events on the channel `trelay.presence`."""

    admin: AdminOptions | None = None
    """The API for operators, on a listener of its own. Without it, there is none."""

    audit: AuditOptions | None = None
    """Records on the topic `trelay.audit` what each connection was written. Off by default."""

    latest: LatestOptions | None = None
    """Keeps the latest event of each subject in the database, for subscribers that begin with a snapshot. Off by
    default."""

    delivery: DeliveryOptions = DeliveryOptions()
    """The stream: history, catching up, connections, drain."""

    drain_delay: float = Field(default=5.0, ge=0)
    """Seconds for which the service goes on as before after it was asked to stop, while `/readyz` answers 503 already.
    Load balancers, and the nodes of Kubernetes, need that long to notice; until then they send new connections here."""

    drain_within: float = Field(default=12.0, ge=0)
    """Seconds in which subscribers are closed after that. The process ends 25 seconds after it was asked to stop,
    because Kubernetes kills after 30."""

    @model_validator(mode="after")
    def _certificates_are_verified(self) -> Self:
        names = [name for name, producer in self.entity.producers.items() if producer.certificates]
        if names and (self.listen.tls is None or self.listen.tls.client_ca_file is None):
            raise ValueError(
                f"entity.producers.{names[0]}.certificates needs `client_ca_file` in `listen.tls`, which names the "
                "authorities of client certificates"
            )
        return self

    @model_validator(mode="after")
    def _in_time(self) -> Self:
        together = self.drain_delay + self.drain_within
        if together > _DRAIN_LIMIT:
            raise ValueError(
                f"drain_delay and drain_within are {together:g} seconds together; expected at most {_DRAIN_LIMIT:g}"
            )
        return self


class ExperienceSettings(SharedSettings):
    """The sections of the file that this service reads."""

    experience: ExperienceOptions = ExperienceOptions()

    @property
    def node(self) -> str | None:
        """The name that the settings give this replica."""
        return self.experience.connections.node
