"""Event contracts of Watchword: what the services tell each other, and in which shape.

Map:
    names         services and identifier types
    contracts     the events themselves: frozen pydantic models that carry ids and versions, never personal data
    catalogue     one row per event: type, owner, subject, audience, consumers
    envelope      CloudEvents 1.0 headers (NATS binary mode) and the way back
    handovers     payloads of the tickets that carry a sign-in from one service to the next
    exports       what an owner answers when another service pulls its copy
    revocations   entries of the revocation ledger and feed
    teams         what other teams' programs may read, and by which names
    asyncapi      the AsyncAPI 3 document made from the catalogue

Events carry ids and versions only; whoever keeps a copy pulls the state from its owner (docs/adr/0002).
"""
