"""The audit log as administrators read it. Triggers and `bus.audit_note` write it; nobody changes it.

documents   an entry as it is shown
store       named SQL
verifying   whether every entry is what was written
seals       the chain's head, signed every few seconds: whoever rewrites the whole chain lacks the key
api         `/api/v1/audit`
my_activity `/api/v1/me/activity`: the same for the person whom it is about
"""
