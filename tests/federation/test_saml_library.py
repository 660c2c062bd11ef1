"""The XML libraries are loaded when SAML is used, and only then; without them SAML providers say so and others work."""

import subprocess
import sys

import pytest

from watchword_federation.connectors import saml
from watchword_federation.failures import SignInFailed

NO_XML = """
import sys
import watchword_federation.main
from watchword_federation.connectors.oidc import OidcConnector
found = [name for name in ("lxml", "xmlsec", "onelogin") if name in sys.modules]
assert not found, found
"""


def test_the_service_starts_without_them() -> None:
    done = subprocess.run([sys.executable, "-c", NO_XML], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_saml_provider_says_that_they_are_missing(
    monkeypatch: pytest.MonkeyPatch, log_lines: list[dict[str, object]]
) -> None:
    name = "watchword_federation.connectors.saml_library"
    monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.delattr("watchword_federation.connectors.saml_library", raising=False)
    monkeypatch.setitem(sys.modules, "xmlsec", None)
    with pytest.raises(SignInFailed) as refusal:
        saml.library()
    assert (refusal.value.code, refusal.value.status) == ("saml_unavailable", 503)
    assert [line["event"] for line in log_lines] == ["saml.unavailable"]
