"""A worker builds pydantic's models late, to save memory; those of SCIM work there nevertheless."""

import subprocess
import sys

PROGRAM = """
from pydantic import BaseModel
BaseModel.model_config["defer_build"] = True
from watchword_directory.scim.resources import described
from scim2_server.service import ScimService
service = ScimService(described(), secret="x")
with service.provider:
    service.read_creation(service.resource_type_at("Users"), b'{"userName": "ana", "schemas": ["' + (
        b'urn:ietf:params:scim:schemas:core:2.0:User"]}'), "application/scim+json")
    user = service.provider.model_for("User").model_validate(
        {"id": "1", "userName": "ana", "meta": {"resourceType": "User"}})
    answer = service.creation_response("https://sso.example/scim/v2", user)
assert answer.body["meta"]["location"] == "https://sso.example/scim/v2/Users/1", answer.body
assert BaseModel.model_config["defer_build"] is True
"""


def test_models_of_scim_are_whole_where_models_are_built_late() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
