"""One `require(...)`: a single FastAPI dependency that finds, verifies and judges the token.

It is one callable with no chain behind it, because every link costs; it is a
`SecurityBase`, so that OpenAPI lists it with its scopes. Annotations in this file are
real objects: FastAPI reads them from instances, where it could not resolve text.
"""

from fastapi.openapi.models import HTTPBearer as HTTPBearerModel
from fastapi.openapi.models import OAuth2 as OAuth2Model
from fastapi.openapi.models import OAuthFlowPassword, OAuthFlows
from fastapi.security.base import SecurityBase
from starlette.requests import HTTPConnection
from starlette.types import Scope

from watchword.errors import OAuthError
from watchword.guard.bearer import Challenge
from watchword.guard.decisions import Decisions, calls, route_of
from watchword.guard.freshness import Freshness
from watchword.rules.access import AccessToken
from watchword.rules.needs import Need

SCHEME = "Watchword"


class Requirement(SecurityBase):
    """Lets a request pass whose token meets a need; its value is the token.

    Args:
        decisions: of the guard.
        need: what the token must have.
        policy: how fresh the knowledge behind it must be; None for what the guard says.
    """

    scheme_name = SCHEME

    def __init__(self, decisions: Decisions, need: Need, policy: Freshness | None = None) -> None:
        self.decisions = decisions
        self.need = need
        self.policy = policy

    @property
    def model(self) -> OAuth2Model | HTTPBearerModel:  # type: ignore[override]
        """How OpenAPI describes the scheme: asked when the schema is made, so that scopes
        declared after this route are in it."""  # noqa: D205, D209
        token_url = self.decisions.token_url
        if token_url is None:
            return HTTPBearerModel(bearerFormat="JWT")
        flow = OAuthFlowPassword(
            tokenUrl=token_url, refreshUrl=token_url, scopes=dict(self.decisions.declared)
        )
        return OAuth2Model(flows=OAuthFlows(password=flow))

    def described(self) -> dict[str, object]:
        """The scheme as OpenAPI writes it."""
        return self.model.model_dump(mode="json", by_alias=True, exclude_none=True)

    async def __call__(self, connection: HTTPConnection) -> AccessToken:
        """The verified token.

        Raises:
            Challenge: 400, 401, 403 or 503, with what RFC 6750 section 3 asks for.
        """
        return await self.judge(connection.scope)

    async def judge(self, scope: Scope) -> AccessToken:
        """As calling it, for those who have no connection object."""
        decisions = self.decisions
        try:
            if self.policy is None:
                token = decisions.recalled(scope) or await decisions.token_of(scope)
            else:
                token = await decisions.token_of(scope, self.policy)
            self.need.judge(token, decisions.now())
        except OAuthError as refusal:
            raise decisions.challenge(refusal, scope) from refusal
        return token


def policies_of(scope: Scope, decisions: Decisions) -> set[Freshness | None]:
    """What the requirements of a request's route say of freshness, as far as one guard goes."""
    found = {
        call.policy
        for call in calls(getattr(route_of(scope), "dependant", None))
        if isinstance(call, Requirement) and call.decisions is decisions
    }
    return found or {None}


class Public:
    """Marks a route as open on purpose, for readers and for the route audit."""

    async def __call__(self) -> None:
        """Let everybody pass."""


__all__ = ["SCHEME", "Challenge", "Public", "Requirement", "policies_of"]
