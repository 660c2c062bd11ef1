"""An issuer of somebody else's (a CI system, a cluster): its keys, where they stand, and tokens of its making."""

import json
import secrets
from dataclasses import dataclass, field
from typing import Any

from joserfc import jwk, jws

from watchword_runtime.clock import Clock
from watchword_testkit.web import Site

WELL_KNOWN = "/.well-known/openid-configuration"


def new_key(kid: str = "") -> jwk.ECKey:
    """A signing key with an id of its own."""
    return jwk.ECKey.generate_key("P-256", {"kid": kid or secrets.token_hex(4), "use": "sig", "alg": "ES256"})


@dataclass
class Issuer:
    """Publishes discovery document and keys on a site. path: of its `iss`, so that one site may have several."""

    site: Site
    now: Clock
    path: str = ""
    key: jwk.ECKey = field(default_factory=new_key)

    def __post_init__(self) -> None:
        self.publish(self.key)
        self.site.put(f"{self.path}{WELL_KNOWN}", {"issuer": self.iss, "jwks_uri": self.jwks_uri})

    @property
    def iss(self) -> str:
        """What it is called."""
        return f"{self.site.url}{self.path}"

    @property
    def jwks_uri(self) -> str:
        """Where its keys are."""
        return f"{self.iss}/keys"

    @property
    def root_ca(self) -> str:
        """Who vouches for its certificate."""
        return self.site.ca_file.read_text()

    def publish(self, *keys: jwk.ECKey) -> None:
        """These are its keys, and no others."""
        self.site.put(f"{self.path}/keys", {"keys": [key.as_dict(private=False) for key in keys]})

    def token(self, *, key: jwk.ECKey | None = None, header: dict[str, Any] | None = None, **claims: Any) -> str:
        """A token as a workload gets it. claims: override, None leaves one out."""
        now_s, key = int(self.now().timestamp()), key or self.key
        said = {
            "iss": self.iss,
            "sub": "repo:acme/app:ref:refs/heads/main",
            "aud": "https://sso.example.test",
            "iat": now_s,
            "exp": now_s + 300,
            "jti": secrets.token_hex(8),
            "repository": "acme/app",
            **claims,
        }
        body = {name: value for name, value in said.items() if value is not None}
        lenient = jws.JWSRegistry(algorithms=["ES256"], strict_check_header=False)
        protected = {"alg": "ES256", "typ": "JWT", "kid": key.kid, **(header or {})}
        return jws.serialize_compact(protected, json.dumps(body), key, registry=lenient)
