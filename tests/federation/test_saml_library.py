"""The XML libraries are loaded when SAML is used, and only then; without them SAML providers say so and others work."""

import subprocess
import sys
from copy import deepcopy
from typing import Any

import pytest
import xmlsec
from lxml import etree
from onelogin.saml2.utils import OneLogin_Saml2_Utils
from tests.federation.saml_forge import NAMES, SAML, SAMLP, encrypt
from tests.federation.saml_idp import pair

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


def test_encrypted_responses_do_not_have_the_systems_authorities_read_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A keys manager reads them all when it is made: 16 ms, which anybody could ask for again and again."""
    saml.library()
    ours, made = pair(), []
    root = etree.Element(f"{SAMLP}Response")
    etree.SubElement(root, f"{SAML}Assertion").text = "clear"
    encrypt(root, ours.certificate)
    manager = xmlsec.KeysManager

    def counted() -> Any:
        made.append(1)
        return manager()

    monkeypatch.setattr(xmlsec, "KeysManager", counted)
    for _ in range(3):
        (hidden,) = deepcopy(root).iterfind("saml:EncryptedAssertion/xenc:EncryptedData", NAMES)
        assert OneLogin_Saml2_Utils.decrypt_element(hidden, ours.key, inplace=True).text == "clear"
    assert len(made) == 1
