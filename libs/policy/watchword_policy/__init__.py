"""What may be granted, as pure functions.

- scopes.py: scope strings (RFC 6749 3.3) and `granted = requested ∩ client ∩ user ∩ consent`
"""
