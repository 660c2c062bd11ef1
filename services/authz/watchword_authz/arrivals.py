"""Somebody has proved who they are, here or upstream: what follows from it, in one transaction."""

from dataclasses import dataclass

import structlog
from fastapi import Request, Response

from watchword_authz import credentials, sessions, store
from watchword_authz.context import Context
from watchword_authz.devices import remember_device
from watchword_authz.models import Flow
from watchword_authz.passwords import Proved, settle_counters
from watchword_authz.sessions import SignIn
from watchword_authz.steps import go_on, look, see_other
from watchword_database import bus
from watchword_database.engine import Session, transaction
from watchword_events.handovers import AccountProved, ProveAccount
from watchword_web.errors import PageError

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Arrival:
    """Who arrives in a flow, and the password that proved it, if one did."""

    who: SignIn
    proved: Proved | None = None


def proof_of(flow: Flow) -> ProveAccount | None:
    """The account that has to be proved in this flow before an identity is linked to it."""
    return None if flow.proof is None else ProveAccount.model_validate(flow.proof)


async def arrive(context: Context, http: Request, flow: Flow, arrival: Arrival) -> Response:
    """The person is signed in, under a new session secret, and on their way to the flow's next step.

    In a flow that has an account to prove, whoever proves it goes on to directory, which links the identity.
    Raises PageError when the flow is over or the password was changed meanwhile.
    """
    proof = proof_of(flow)
    if proof is not None and proof.user_id == arrival.who.user_id:
        return await _hand_proof_over(context, flow, arrival, proof)
    now, who = context.now(), arrival.who
    async with transaction(context.database) as session:
        await _check_password_still(session, arrival)
        before = await sessions.find_live(session, context.cookies.read_session(http), feed=context.feed, now=now)
        row, secret, entries = await sessions.sign_in(
            session, who, before=before, feed=context.feed, lifetimes=context.lifetimes, now=now
        )
        if not await store.claim_flow(session, flow.id, now, sid=row.id, again=False, proof=None):
            raise PageError("flow_over", "This sign-in is over", "It was finished already, perhaps in another tab.")
        if arrival.proved is not None:
            await settle_counters(session, arrival.proved)
    await context.feed.settle(entries)
    log.info("sign_in.succeeded", user_id=who.user_id, sid=row.id, provider_id=who.provider_id, amr=who.amr)
    flow.sid, flow.again, flow.proof = row.id, False, None
    situation = await look(context, flow, secret, rev=who.rev)
    response = await go_on(context, http, situation)
    context.cookies.set_session(response, secret)
    if arrival.proved is not None:
        remember_device(context, http, response, who.user_id)
    return response


async def _hand_proof_over(context: Context, flow: Flow, arrival: Arrival, proof: ProveAccount) -> Response:
    now = context.now()
    payload = AccountProved(binding=flow.binding, user_id=proof.user_id, pending_link_id=proof.pending_link_id)
    async with transaction(context.database) as session:
        await _check_password_still(session, arrival)
        if not await store.claim_flow(session, flow.id, now, proof=None):
            raise PageError("flow_over", "This sign-in is over", "It was finished already, perhaps in another tab.")
        ticket = await bus.hand_over(session, payload, flow=flow.id, now=now)
        if arrival.proved is not None:
            await settle_counters(session, arrival.proved)
    log.info("account.proved", user_id=proof.user_id, provider_id=proof.provider_id)
    return see_other(context, f"/login/identity?ticket={ticket}")


async def _check_password_still(session: Session, arrival: Arrival) -> None:
    """A password that was changed between its verification and now proves nothing (and stays the same until commit)."""
    proved = arrival.proved
    if proved is not None and not await credentials.is_still(session, proved.credential, proved.new_hash):
        raise PageError("credential_changed", "The password was changed", "Sign in again with the new password.")
