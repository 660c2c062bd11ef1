"""Somebody has proved who they are, here or upstream: what follows from it, in one transaction."""

from dataclasses import dataclass, replace
from datetime import datetime

import structlog
from fastapi import Request, Response

from watchword_authz import credentials, notices, remembered, requirements, sessions, store, throttle
from watchword_authz.context import Context
from watchword_authz.devices import known_device, remember_device
from watchword_authz.flows import request_of
from watchword_authz.held import Held, passed_in
from watchword_authz.models import Flow
from watchword_authz.passwords import Proved
from watchword_authz.sessions import SignIn
from watchword_authz.steps import go_on, look, see_other
from watchword_database import bus
from watchword_database.engine import Session, transaction
from watchword_events.exports import UserExport
from watchword_events.handovers import AccountProved, ProveAccount
from watchword_web.devices import device_of
from watchword_web.errors import PageError

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Arrival:
    """Who arrives in a flow, and the password that proved it, if one did.

    held_version: of a password that proved it in a step before, when the second factor was still to come.
    """

    who: SignIn
    proved: Proved | None = None
    held_version: int | None = None

    @property
    def password_version(self) -> int | None:
        """Of the password that proved it, now or in the step before; None without one."""
        return self.held_version if self.proved is None else self.proved.credential.version


def proof_of(flow: Flow) -> ProveAccount | None:
    """The account that has to be proved in this flow before an identity is linked to it."""
    return None if flow.proof is None else ProveAccount.model_validate(flow.proof)


async def arrive(context: Context, http: Request, flow: Flow, arrival: Arrival) -> Response:
    """The person is signed in, under a new session secret, and on their way to the flow's next step.

    Where a second factor is to come first, nobody is signed in, and it is asked for. In a flow that has an account to
    prove, whoever proves it goes on to directory, which links the identity. Raises PageError when the flow is over or
    the password was changed meanwhile.
    """
    passed = passed_in(flow)
    if passed is not None and passed.user_id == arrival.who.user_id:
        amr = tuple(dict.fromkeys((*arrival.who.amr, *passed.amr)))
        arrival = replace(arrival, who=replace(arrival.who, amr=amr))
    now, who = context.now(), arrival.who
    user = await context.users.get(who.user_id)
    if user is None:
        raise _over()
    is_incomplete = await requirements.lacks_factor(context.database, who, user, client_id=flow.client_id)
    # Whoever has to show once more that it is them, or to link an account, shows everything.
    if is_incomplete and not flow.is_renewal and flow.proof is None:
        async with transaction(context.database) as session:
            is_known = await remembered.claim_use(context, session, http, who.user_id)
        who = replace(who, is_remembered=is_known)
    if is_incomplete and not who.is_remembered:
        return await _hold(context, flow, arrival, now)
    is_by_password = arrival.password_version is not None
    proof = proof_of(flow)
    if proof is not None and proof.user_id == who.user_id:
        return await _hand_proof_over(context, flow, arrival, proof)
    before = await sessions.find_live(context.database, context.cookies.read_session(http), feed=context.feed, now=now)
    async with transaction(context.database) as session:
        await _check_password_still(session, arrival)
        try:
            row, secret, entries = await sessions.sign_in(
                session, who, before=before, feed=context.feed, lifetimes=context.lifetimes, now=now
            )
        except sessions.EndedThere:
            raise PageError(
                "session_ended",
                "Your session at the identity provider is over",
                "It ended there while you were being signed in here. Start again at the application.",
                403,
            ) from None
        if not await store.claim_flow(session, flow.id, now, sid=row.id, again=False, proof=None, held=None):
            raise _over()
        if arrival.proved is not None:
            await throttle.settle(session, arrival.proved.claims)
        if is_by_password and known_device(context, http, who.user_id) is None:
            await _tell_of_device(context, session, who, user, row.id)
    await context.feed.settle(entries)
    log.info("sign_in.succeeded", user_id=who.user_id, sid=row.id, provider_id=who.provider_id, amr=who.amr)
    context.audit.note(
        "sign_in.succeeded",
        user_id=who.user_id,
        address=who.address,
        user_agent=who.user_agent,
        sid=row.id,
        provider_id=who.provider_id,
        amr=list(who.amr),
    )
    flow.sid, flow.again, flow.proof, flow.held = row.id, False, None, None
    situation = await look(context, flow, secret, address=who.address, rev=who.rev)
    response = await go_on(context, http, situation)
    context.cookies.set_session(response, secret)
    if is_by_password:
        remember_device(context, http, response, who.user_id)
    return response


async def _hold(context: Context, flow: Flow, arrival: Arrival, now: datetime) -> Response:
    """The first factor is noted in the flow. A password that was right counts as no failed attempt any more."""
    held = Held(who=arrival.who, password_version=arrival.password_version, at=now)
    async with transaction(context.database) as session:
        await _check_password_still(session, arrival)
        if not await store.claim_flow(session, flow.id, now, held=held.model_dump(mode="json")):
            raise _over()
        if arrival.proved is not None:
            await throttle.settle(session, arrival.proved.claims)
    log.info("sign_in.held", user_id=arrival.who.user_id, provider_id=arrival.who.provider_id)
    return see_other(context, f"/login/factor?flow={flow.id}")


async def _hand_proof_over(context: Context, flow: Flow, arrival: Arrival, proof: ProveAccount) -> Response:
    now, asked, version = context.now(), request_of(flow), arrival.password_version
    payload = AccountProved(
        binding=flow.binding,
        user_id=proof.user_id,
        pending_link_id=proof.pending_link_id,
        upstream_session=proof.upstream_session,
        ui_locales=asked.ui_locales if asked is not None else (),
        rev=flow.rev,
        idp=arrival.who.provider_id,
        sid=None if version is None else credentials.sid_of_proofs(proof.user_id, version),
    )
    async with transaction(context.database) as session:
        await _check_password_still(session, arrival)
        if not await store.claim_flow(session, flow.id, now, proof=None, held=None):
            raise _over()
        ticket = await bus.hand_over(session, payload, flow=flow.id, now=now)
        if arrival.proved is not None:
            await throttle.settle(session, arrival.proved.claims)
    log.info("account.proved", user_id=proof.user_id, provider_id=proof.provider_id)
    return see_other(context, f"/login/identity?ticket={ticket}")


async def _check_password_still(session: Session, arrival: Arrival) -> None:
    """A password that was changed between its verification and now proves nothing (and stays the same until commit)."""
    proved, held_version = arrival.proved, arrival.held_version
    is_still = proved is None or await credentials.is_still(session, proved.credential, proved.new_hash)
    if held_version is not None:
        is_still = await store.lock_password(session, arrival.who.user_id, held_version)
    if not is_still:
        raise PageError("credential_changed", "The password was changed", "Sign in again with the new password.")


async def _tell_of_device(context: Context, session: Session, who: SignIn, user: UserExport, sid: str) -> None:
    """A person learns of a sign-in with their password where there was none before, except of the very first."""
    if await store.has_sessions(session, who.user_id, besides=sid):
        device = device_of(who.user_agent)
        await notices.tell(context, session, user, "device", device=device, address=who.address)


def _over() -> PageError:
    return PageError("flow_over", "This sign-in is over", "It was finished already, perhaps in another tab.")
