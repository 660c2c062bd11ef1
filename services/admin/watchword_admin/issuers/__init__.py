"""Trusted issuers: whose tokens are exchanged for ours, without anybody signing in here.

    documents   what may be said, each part checked; what `token` copies
    changes     each change, with its events and its ledger entry
    refusals    what is refused, as problem documents say it
    store       named SQL
    api         `/api/v1/issuers`

What is exchanged is decided by `token`, with the access rules.
"""
