"""Access rules and service accounts: what administrators say about who may use which client, and as what.

    documents   what may be said, each part checked; what others copy
    changes     each change, with its events
    trial       a rule, or a set of drafts, tried on facts
    store       named SQL
    refusals    what is answered where one of them is broken
    api         `/api/v1/rules` and `/api/v1/service-accounts`

Who decides with them is `authz` at sign-in and `token` at refresh and exchange, by `watchword_policy.rules`.
"""
