"""/api/claude/secrets: which secrets bodies held, when, through which source, how often. Never a secret itself."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Literal, cast

from pydantic import Field
from quart import Blueprint, Response
from quart_schema import document_response, validate_querystring

from claudeproxy.api.answers import document, json_response
from claudeproxy.api.errors import SECRET_NOT_FOUND, ApiError
from claudeproxy.api.ids import or_404
from claudeproxy.api.parameters import SecretQuery, SecretsQuery
from claudeproxy.api.schemas import Document, Id, Time
from claudeproxy.api.times import iso
from claudeproxy.insight.secrets import Secrets
from claudeproxy.insight.secrets_values import sighting_fields, use_fields

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from claudeproxy.api.storage import StoragePool
    from claudeproxy.store.storage import CaptureStorage

Mode = Literal["off", "report", "redact"]


class SecretSource(Document):
    """A source through which a secret came; `Assistant` is an answer that held it."""

    label: str
    requests: int
    first_seen: Time
    last_seen: Time


class Secret(Document):
    """One secret. Counts are of exchanges, those included that have been deleted since."""

    rule: str
    hash: str = Field(description="Keyed with this installation's secret: the same secret has the same hash.")
    first_seen: Time
    last_seen: Time
    sent: int = Field(description="Requests that held it: so often it left the machine.")
    received: int = Field(description="Answers that held it.")
    masked: int = Field(description="Of both, those whose record does not hold it.")
    sources: list[SecretSource] = Field(description="The one with the most requests first.")


class SecretList(Document):
    """Every secret that was found, the last seen first."""

    mode: Mode = Field(description="What the running service does about secrets in bodies; off: none are looked for.")
    secrets: list[Secret]


class SecretSighting(Document):
    """One place of it in a capture that is still there."""

    request_id: Id
    timestamp: Time
    session_id: str | None
    direction: Literal["sent", "received"]
    source: str | None = Field(description="Null: not looked up yet.")
    json_path: str | None
    start: int = Field(description="Byte offset in the decoded body.")
    length: int
    masked: bool


class SecretDetail(Secret):
    """One secret with its places."""

    sightings: list[SecretSighting] = Field(description="The latest first.")


def secret_routes(storage: StoragePool, health: Callable[[], Mapping[str, object]]) -> Blueprint:
    """The routes of secrets."""
    routes = Blueprint("secrets", __name__)

    @routes.get("/secrets")
    @validate_querystring(SecretsQuery)
    @document_response(SecretList)
    async def list_secrets(query_args: SecretsQuery) -> Response:
        """List the secrets that were found in bodies: when, how often, through which sources."""
        mode = cast("Mode", health().get("secrets", "off"))
        return json_response(await storage.run(lambda reader: _list(reader, query_args, mode)))

    @routes.get("/secrets/<hash>")
    @validate_querystring(SecretQuery)
    @document_response(SecretDetail)
    async def get_secret(hash: str, query_args: SecretQuery) -> Response:  # noqa: A002 - the name in the path
        """Show one secret with its places in the captures that are there."""
        with or_404(SECRET_NOT_FOUND):
            return json_response(await storage.run(lambda reader: _detail(reader, hash, query_args.limit)))

    return routes


def _list(reader: CaptureStorage, query: SecretsQuery, mode: Mode) -> str:
    found = Secrets(reader).uses(
        since=query.since, until=query.until, rule=query.rule, source=query.source, sent=query.sent
    )
    return document(SecretList(mode=mode, secrets=[Secret.model_validate(use_fields(one, iso)) for one in found]))


def _detail(reader: CaptureStorage, wanted: str, limit: int) -> str:
    secrets = Secrets(reader)
    found = secrets.use(wanted)
    if found.hash != wanted:
        raise ApiError(HTTPStatus.NOT_FOUND, SECRET_NOT_FOUND, "A hash is a whole hash.")
    places = [sighting_fields(one, iso) for one in secrets.sightings(wanted, limit=limit)]
    return document(SecretDetail.model_validate({**use_fields(found, iso), "sightings": places}))
