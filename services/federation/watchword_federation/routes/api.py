"""federation's part of `/api/v1`: why sign-ins failed, how SAML providers stand, our SAML keys. For administrators."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

import structlog
from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from watchword_database import transaction
from watchword_federation import store
from watchword_federation.attempts import record_refused
from watchword_federation.connectors.saml_idp import EXPIRES_SOON, idp_of, saml_of
from watchword_federation.connectors.saml_keys import KeyConflict, KeyState, SpKey
from watchword_federation.connectors.saml_sources import metadata_in
from watchword_federation.connectors.saml_watch import troubles_of
from watchword_federation.edge import Federation
from watchword_federation.models import SignInAttempt
from watchword_federation.provider_checks import ProviderTest, check_provider
from watchword_federation.trials import TrialView, offer, view_of
from watchword_runtime.access import Caller
from watchword_runtime.callers import actor
from watchword_runtime.saml_metadata import Certificate
from watchword_web.api import DEFAULT_LIMIT, MAX_LIMIT, Page, ProblemDocument
from watchword_web.errors import Problem
from watchword_web.surfaces import Surface

_ERRORS: dict[int | str, dict[str, object]] = {status: {"model": ProblemDocument} for status in (401, 403, 404, 409)}

log = structlog.get_logger()


class NewTrial(BaseModel):
    """Through which provider."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    provider_id: Annotated[str, Field(max_length=64)]


class Step(BaseModel):
    """What was looked at and found, without a word about the person."""

    step: str
    detail: str
    after_ms: float


class Attempt(BaseModel):
    """A sign-in that failed. reference: what the person's page shows.  failure: its name.  steps: in order."""

    id: str
    reference: str
    provider_id: str
    at: datetime
    failure: str
    steps: list[Step]


class CertificateView(BaseModel):
    """A certificate by which a provider, or ours by which we, can be recognised."""

    fingerprint_sha256: str
    subject: str
    not_before: datetime
    not_after: datetime
    state: str
    pem: str


class TroubleView(BaseModel):
    """Something that an administrator has to do something about. code: as in the log, after `saml.`."""

    code: str
    detail: str
    urgent: bool


class SamlState(BaseModel):
    """How a SAML provider stands: what is in force, where from, and what is wrong with it.

    metadata_failure: why it could not be read again, since metadata_failing_since; the one of before stays in use.
    """

    provider_id: str
    entity_id: str | None
    sso_url: str | None
    slo_url: str | None
    certificates: list[CertificateView]
    metadata_url: str | None
    metadata_fetched_at: datetime | None
    metadata_valid_until: datetime | None
    metadata_failure: str | None
    metadata_failing_since: datetime | None
    troubles: list[TroubleView]


class SamlKeyView(CertificateView):
    """A key of ours for SAML. state: `active` signs; `next` stands beside it in our metadata; `previous` only opens."""

    id: str


class SamlKeys(BaseModel):
    """Our SAML keys, newest first."""

    items: list[SamlKeyView]
    next: None = None


def router(federation: Federation) -> APIRouter:
    """`/api/v1/upstream/…`: deny is the default of the router, not of a route."""
    api = APIRouter(
        prefix="/api/v1/upstream",
        tags=["administration"],
        dependencies=[Depends(federation.callers.administrator)],
        responses=_ERRORS,
    )
    _attempts(api, federation)
    _trials(api, federation)
    _providers(api, federation)
    _keys(api, federation)
    return api


def check_router(federation: Federation) -> APIRouter:
    """`/api/v1/providers/{provider_id}/test`: admin's resource, looked at by whoever speaks to the provider."""
    api = APIRouter(
        prefix="/api/v1/providers",
        tags=["administration"],
        dependencies=[Depends(federation.callers.administrator)],
        responses=_ERRORS,
    )

    @api.post("/{provider_id}/test")
    async def check_identity_provider(
        provider_id: Annotated[str, Path(max_length=64)], request: Request
    ) -> ProviderTest:
        """Looks at discovery, keys, certificates, the client's authentication and the callback URL. Nobody signs in."""
        federation.limit(request, Surface.API)
        await federation.refresh(provider_id)
        provider = await federation.providers.get(provider_id)
        if provider is None or provider.id != provider_id or provider.kind not in federation.connectors:
            raise Problem(404, "No such provider", "There is no provider with this id.")
        return await check_provider(federation, provider)

    return api


def _trials(api: APIRouter, federation: Federation) -> None:
    @api.post("/trials", status_code=201)
    async def offer_trial(body: NewTrial) -> TrialView:
        """A link with which one browser tries to sign in through a provider. Nobody is signed in or created."""
        await federation.refresh(body.provider_id)
        provider = await federation.providers.get(body.provider_id)
        if provider is None or provider.id != body.provider_id or provider.kind not in federation.connectors:
            raise Problem(404, "No such provider", "There is no provider with this id.")
        return await offer(federation, provider)

    @api.get("/trials/{trial_id}")
    async def get_trial(trial_id: Annotated[str, Path(max_length=64)]) -> TrialView:
        """What came of a trial sign-in: the provider's claims, and how they are understood. Kept for an hour."""
        async with transaction(federation.database) as session:
            trial = await store.find_trial(session, trial_id, now=federation.now())
        if trial is None:
            raise Problem(404, "No such trial", "There is no trial sign-in with this id, or it is over.")
        return view_of(federation, trial, await federation.providers.get(trial.provider_id))


def _attempts(api: APIRouter, federation: Federation) -> None:
    @api.get("/attempts")
    async def list_sign_in_attempts(
        provider_id: Annotated[str | None, Query(max_length=64)] = None,
        reference: Annotated[str | None, Query(max_length=16, description="What the person's page shows")] = None,
        cursor: Annotated[str | None, Query(max_length=1024)] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT,
    ) -> Page[Attempt]:
        """Sign-ins through providers that failed, newest first, with the steps that were done. 200 are kept of each
        failure of each."""
        before = str(federation.cursor.read("attempts", cursor)[0]) if cursor else ""
        async with transaction(federation.database) as session:
            await record_refused(session, now=federation.now())
            found = await store.list_attempts(
                session, provider_id=provider_id, reference=reference, before=before, limit=limit + 1
            )
        following = federation.cursor.make("attempts", found[limit - 1].id) if len(found) > limit else None
        return Page(items=[_attempt(row) for row in found[:limit]], next=following)


def _providers(api: APIRouter, federation: Federation) -> None:
    @api.get("/saml/{provider_id}")
    async def get_saml_state(provider_id: str) -> SamlState:
        """How a SAML provider stands: certificates, metadata, and what needs an administrator."""
        provider = await federation.providers.get(provider_id)
        if provider is None or provider.kind != "saml":
            raise Problem(404, "No such provider", "There is no SAML provider with this id.")
        known, now = await federation.saml.sources.known(provider), federation.now()
        metadata = metadata_in(known)
        idp = idp_of(provider, metadata)
        return SamlState(
            provider_id=provider_id,
            entity_id=idp.entity_id if idp else provider.issuer or None,
            sso_url=idp.sso_url if idp else None,
            slo_url=idp.slo_url if idp else None,
            certificates=[_certificate(each, _age(each, now)) for each in (idp.certificates if idp else ())],
            metadata_url=saml_of(provider).metadata_url,
            metadata_fetched_at=known.fetched_at if known else None,
            metadata_valid_until=metadata.valid_until if metadata else None,
            metadata_failure=known.failure if known else None,
            metadata_failing_since=known.failed_since if known else None,
            troubles=[
                TroubleView(code=each.code, detail=each.detail, urgent=each.is_urgent)
                for each in troubles_of(provider, known, now)
            ],
        )

    @api.post("/saml/{provider_id}/refresh")
    async def refresh_saml_metadata(provider_id: str) -> SamlState:
        """Reads the provider's metadata again, now; the answer says whether that worked."""
        provider = await federation.providers.get(provider_id)
        if provider is None or provider.kind != "saml" or saml_of(provider).metadata_url is None:
            raise Problem(404, "No such provider", "There is no SAML provider with this id and a metadata address.")
        await federation.saml.sources.refresh(provider, unless_since=federation.now())
        return await get_saml_state(provider_id)


def _keys(api: APIRouter, federation: Federation) -> None:
    caller_of = Annotated[Caller, Depends(federation.callers.administrator)]
    keys = federation.saml.keys

    @api.get("/saml-keys")
    async def list_saml_keys() -> SamlKeys:
        """Our SAML keys: those that providers find in our metadata, and those that still open what comes."""
        found = await keys.keys()
        return SamlKeys(items=[_key(key) for key in (found.active, *found.others)])

    @api.post("/saml-keys", status_code=201)
    async def add_saml_key(caller: caller_of) -> SamlKeyView:
        """A next key, in our metadata beside the active one from now on. Let providers read it, then activate it."""
        try:
            made = await keys.prepare()
        except KeyConflict as conflict:
            raise Problem(409, "There is a next key", str(conflict)) from None
        log.info("saml_key.prepared", key_id=made.id, **actor(caller))
        return _key(made)

    @api.post("/saml-keys/{key_id}/activate")
    async def activate_saml_key(key_id: str, caller: caller_of) -> SamlKeys:
        """The next key signs from now on; the one before still opens what providers encrypt for it."""
        if not await keys.activate(key_id):
            raise Problem(404, "No such key", "There is no next key with this id.")
        log.info("saml_key.activated", key_id=key_id, **actor(caller))
        return await list_saml_keys()

    @api.delete("/saml-keys/{key_id}", status_code=204)
    async def remove_saml_key(key_id: str, caller: caller_of) -> None:
        """A next or previous key is gone. The active one stays: activate another first."""
        if not await keys.remove(key_id):
            raise Problem(404, "No such key", "There is no next or previous key with this id.")
        log.info("saml_key.removed", key_id=key_id, **actor(caller))


def _attempt(row: SignInAttempt) -> Attempt:
    return Attempt(
        id=row.id,
        reference=row.reference,
        provider_id=row.provider_id,
        at=row.at,
        failure=row.failure,
        steps=[Step.model_validate(step) for step in row.steps],
    )


def _age(certificate: Certificate, now: datetime) -> str:
    if certificate.has_expired(now):
        return "expired"
    return "expires" if certificate.has_expired(now + EXPIRES_SOON) else "valid"


def _certificate(certificate: Certificate, state: str) -> CertificateView:
    return CertificateView.model_validate(_fields(certificate, state))


def _key(key: SpKey) -> SamlKeyView:
    return SamlKeyView.model_validate({"id": key.id, **_fields(key.certificate, KeyState(key.state).value)})


def _fields(certificate: Certificate, state: str) -> Mapping[str, object]:
    return {
        "fingerprint_sha256": certificate.fingerprint,
        "subject": certificate.subject,
        "not_before": certificate.not_before,
        "not_after": certificate.not_after,
        "state": state,
        "pem": certificate.pem,
    }
