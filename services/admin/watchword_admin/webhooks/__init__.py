"""Webhooks: what happened, sent in signed batches to programs of others, in order, until they have taken it.

    documents   what may be said of one, and what is shown
    changes     each change, in its caller's transaction
    store       named SQL
    batches     what comes next for one: entries of the audit log, or public events
    deliveries  who sends: one instance at a time for each, again with growing delays
    refusals    what is answered where a rule is broken
    api         `/api/v1/webhooks`

A webhook has a place in the log that it is about (`after`). A batch that was taken moves it on; a replay moves it back.
Nothing is queued for anybody, so a receiver that is away costs nothing.
"""
