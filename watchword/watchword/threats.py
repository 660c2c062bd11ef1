"""docs/reference/threats.md: the threats that Watchword was built against, and the tests that try each of them."""

import ast
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Final

THREATS: Final[Mapping[int, str]] = {
    1: "a redirect URI that only looks registered",
    2: "errors that redirect to strangers",
    3: "redirect URIs that must not be registered",
    4: "going on elsewhere after a sign-out",
    5: "a code that somebody else asked for (PKCE)",
    6: "a code used twice",
    7: "a code of another client",
    8: "tokens from the authorization endpoint, passwords as a grant",
    9: "response modes and repeated parameters",
    10: "request objects and pushed requests",
    11: "mixing up providers",
    12: "client assertions meant for others",
    13: "forged answers of a provider",
    14: "altered ID tokens of a provider",
    15: "one kind of token used as another",
    16: "confusion about algorithms",
    17: "keys that a token brings along",
    18: "tokens and JSON made to exhaust",
    19: "DPoP proofs replayed, altered or left out",
    20: "stolen refresh tokens",
    21: "guessing or mixing client authentication",
    22: "exchanging tokens for more than they were",
    23: "scopes and permissions beyond client or person",
    24: "introspection that tells the wrong client",
    25: "revocation that some endpoint does not know",
    26: "consent that was not given, or for something else",
    27: "user codes guessed or approved by others",
    28: "clients that register themselves",
    29: "sessions fixed before the sign-in",
    30: "signing somebody in as somebody else",
    31: "framing and script injection",
    32: "secrets in caches and addresses",
    33: "SAML signature wrapping",
    34: "SAML signatures left out or of strangers",
    35: "tricks with the XML parser",
    36: "SAML answers meant for others",
    37: "SAML answers replayed or out of time",
    38: "sign-ins that a provider begins",
    39: "forged single logout",
    40: "what names an external identity",
    41: "linking accounts by address",
    42: "addresses that only look equal",
    43: "accounts taken before their owner comes",
    44: "proofs used for another identity",
    45: "rights taken from claims",
    46: "people who were disabled",
    47: "half a sign-in used as a whole one",
    48: "fetching from inside the network",
    49: "documents and keys of another issuer",
    50: "forwarded addresses",
    51: "forged host names",
    52: "finding out which accounts exist",
    53: "guessing passwords and codes",
    54: "how passwords are kept",
    55: "secrets in logs",
    56: "keys at rest",
    57: "secrets in the database",
    58: "routes of the administration",
    59: "acting for another user by naming them",
    60: "expressions made to break out or exhaust",
    61: "forged events",
    62: "crossing from one organization or installation to another",
    63: "races between checking and using",
    64: "provisioning filters and patches made to exhaust or to reach further",
    65: "forged back-channel logout",
}


def tests_of_threats(root: Path) -> dict[int, list[str]]:
    """The tests below `root` that a `@pytest.mark.row` names, by number."""
    found: dict[int, list[str]] = defaultdict(list)
    for path in sorted(root.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                for mark in node.decorator_list:
                    if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.row":
                        for argument in mark.args:
                            found[int(ast.literal_eval(argument))].append(f"`{path.relative_to(root)}` {node.name}")
    return found


def threats_page(heading: str, root: Path) -> str:
    """The table. heading: what stands above it."""
    tests = tests_of_threats(root)
    lines = [heading + "# Threats\n"]
    lines.append("Each row is a table of bad input that must be refused; the tests named here try it.\n")
    lines += ["| number | threat | tested by |", "|---|---|---|"]
    lines += [f"| {number} | {threat} | {'<br>'.join(tests[number])} |" for number, threat in THREATS.items()]
    return "\n".join(lines) + "\n"


def untested_threats(root: Path) -> list[str]:
    """What nothing tries, and marks that name no threat."""
    tests = tests_of_threats(root)
    return [f"threat {number}: {THREATS[number]}" for number in THREATS if not tests[number]] + [
        f"threat {number}: there is none" for number in tests if number not in THREATS
    ]
