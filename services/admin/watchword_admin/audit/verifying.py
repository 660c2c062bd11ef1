"""Whether the log is what was written: the chain, its head, and the seals on it."""

from typing import Final

import orjson

from watchword_admin.audit import store
from watchword_admin.audit.documents import Verification, break_of
from watchword_admin.audit.seals import PRUNED, Seals
from watchword_admin.models import AuditSeal
from watchword_database import Session
from watchword_database.audit import Break, Chain, Entry

_SHOWN: Final = 100


async def verify(session: Session, seals: Seals) -> Verification:
    """All of it, from the first entry on; or, of a log that was pruned, from the seal on up to which it was.

    That it was pruned up to there, and not cut, the log itself has to say.
    """
    placed = {seal.seq: seal for seal in await store.seals(session)}
    chain, anchor, is_said = Chain(), None, True
    async for entry in store.all_entries(session):
        if chain.count == 0 and (found := placed.get(entry.seq - 1)) is not None and seals.is_genuine(found):
            anchor, is_said = placed.pop(found.seq), False
            chain = Chain(anchor.seq, anchor.hash)
        chain.follow(entry)
        is_said = is_said or (anchor is not None and _says(entry, anchor))
        seal = placed.pop(entry.seq, None)
        if seal is not None and not (seal.hash == entry.hash and seals.is_genuine(seal)):
            chain.breaks.append(Break(entry.seq, "the chain up to here is not the one that was sealed"))
    chain.breaks += [Break(seq, "an entry that was sealed is missing") for seq in placed]
    chain.end(*await store.head(session))
    if anchor is not None and not is_said:
        chain.breaks.append(
            Break(anchor.seq, "the entries up to here are gone, and nothing says that they were pruned")
        )
    newest = await store.newest_seal(session)
    return Verification(
        valid=not chain.breaks,
        entries=chain.count,
        forgotten=chain.forgotten,
        hash=chain.hash.hex(),
        sealed=newest.seq if newest else 0,
        pruned=anchor.seq if anchor else 0,
        breaks=[break_of(each) for each in chain.breaks[:_SHOWN]],
    )


def _says(entry: Entry, anchor: AuditSeal) -> bool:
    """Whether an entry is the one that the pruning up to a seal wrote."""
    if PRUNED not in entry.entry:
        return False
    said = orjson.loads(entry.entry)
    wanted = {"until": anchor.seq, "hash": anchor.hash.hex()}
    return bool(said.get("action") == PRUNED and said.get("details") == wanted)
