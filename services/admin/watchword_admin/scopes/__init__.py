"""Scopes of the installation's own, with the claims that they open, and resource servers (RFC 8707).

documents   what may be said of each, every part checked; what others copy
changes     each change in its caller's transaction, with its event
store       named SQL
refusals    what is answered where a rule is broken
api         `/api/v1/scopes` and `/api/v1/resources`
"""
