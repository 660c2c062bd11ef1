"""What every Watchword service runs on: settings, keys, NATS, the revocation feed, copies and pulls.

| module | what it gives |
|---|---|
| `settings` | `ServiceSettings`, `load(cls)`: the only place that reads the environment |
| `keyring` | keys derived from the master key by purpose; `Sealer` (AES-256-GCM) |
| `seal` | secrets that are read again, sealed at rest |
| `clock`, `logging` | the clock as an argument; JSON log lines without secrets |
| `broker` | one NATS connection per service: durable work, hints; never blocks when NATS is away |
| `work`, `durables` | one durable consumer: batches, back-off, dead letters; how it is provisioned |
| `tail` | every event on every instance, with loss made visible |
| `feed`, `ledger` | what has been revoked, as this instance knows it; the table is the truth, NATS the hint |
| `internal`, `copies` | authenticated pulls from owners; tables that follow another service's entities |
| `access`, `jwks`, `opaque_tokens` | who calls `/api/v1`; the keys of signed access tokens, and what sealed ones say |
| `key_uses` | when API keys were last used |
| `client_authentication` | which client a request is from, the same at every endpoint of every service |
| `dpop_proofs` | proofs of possession at endpoints where clients ask for something |
| `client_credentials`, `client_proofs` | what a request brings; what the client registered |
| `client_assertions` | JWTs by which clients prove themselves |
| `connections`, `certificates` | what trusted proxies say of a connection; whom a certificate names |
| `client_keys` | the public keys of clients, by value or published |
| `passwords` | argon2id in a bounded pool of low-priority threads |
| `outbound` | the only HTTP client for addresses that others chose |
| `published` | key sets and other documents at such addresses, fetched rarely and kept for a while |
| `documents`, `public_keys`, `foreign_jwts` | what strangers send, read strictly: JSON, keys, signed tokens |
| `declarations` | what is configured, as the YAML documents that `watchword apply` reads |
| `retries` | how long a delivery waits for its next attempt |
| `shared`, `service` | what one process gives its services, and what a service gives back |
"""
