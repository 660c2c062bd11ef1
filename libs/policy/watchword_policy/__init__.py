"""What may be granted, as pure functions.

- scopes.py: scope strings (RFC 6749 3.3) and `granted = requested ∩ client ∩ user ∩ consent`
- identifiers.py: the canonical forms of e-mail addresses, user names and domains
- permissions.py: the names of permissions
- claims.py: which scope opens which claims
- details.py: rich authorization requests (RFC 9396)
- rules.py: which access rule decides, and why; facts.py: what rules may look at
- engine.py: expressions of rules (CEL), compiled and run; costs.py: what one can cost at worst; hints.py: what to
  write instead
- claim_names.py: names of claims that nothing else may have
- claim_expressions.py: claims of the installation's own (CEL), over what is known of a person
- patterns.py: regular expressions of administrators (RE2), and groups chosen by them
- assurance.py: how well a sign-in proved who somebody is, and whether that is what was asked for
"""
