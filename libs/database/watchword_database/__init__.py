"""PostgreSQL for the services: one transaction for a change, its events and its revocations.

Map:
    engine     Database, transaction(), Session: commits stand here and nowhere else
    base       columns that tables share; backbone(): outbox, inbox, dead letters, state of copies
    bus        the shared schema: hand-overs, revocation ledger, things spent once
    tasks      background tasks that really end
    leader     work that one instance at a time does
    outbox     rows to publish, and the relay that publishes them in order, one leader per owner
    followers  who follows the ledger, and how far: receipts
    decisions  what access rules decided
    key_uses   when API keys were last used
    audit      who changed what: which tables are audited, for whom a transaction works, the chain of the log
    turns      what only one transaction at a time may do
    inbox      effects that must happen once per event
    ids        identifiers that sort by time
    migrate    roles, schemas and Alembic migrations of all members; `python -m watchword_database.migrate`
"""

from watchword_database.engine import Database, Session, transaction

__all__ = ["Database", "Session", "transaction"]
