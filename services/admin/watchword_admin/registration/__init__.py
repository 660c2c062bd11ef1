"""Clients that no administrator registered: they register themselves, or are documents on the web.

- terms.py: what such a client may ask for (pure)
- usual.py: the terms that hold unless an initial access token has others
- metadata.py: RFC 7591's metadata become a ClientDocument, and back (pure)
- initial.py: initial access tokens, which administrators hand out
- clients.py: registering, reading, changing and deleting oneself, each one transaction
- documents.py: client-ID metadata documents, read when somebody signs in to one
- reaper.py: those that nobody uses are cleared away
- routes.py: `/oauth2/register`; api.py: `/api/v1/registration-tokens`; documents_api.py: `/api/v1/client-documents`
- store.py: named SQL

Nobody here vouches for them: every sign-in asks for consent, on a page that says so, and none of them holds anything
that only an administrator can give. Specs: RFC 7591; RFC 7592;
draft-ietf-oauth-client-id-metadata-document.
"""
