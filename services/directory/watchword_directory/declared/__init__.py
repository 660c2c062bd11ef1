"""Documents that declare what the directory holds: how each kind is found, made, changed and removed.

    organizations, groups, attributes, roles, people   the kinds, in the order in which they may name each other

Names stand where the API has ids, so that a file means the same at every installation.
"""

from typing import Any

from watchword_directory.declared.attributes import Attributes
from watchword_directory.declared.groups import Groups
from watchword_directory.declared.organizations import Organizations
from watchword_directory.declared.people import Users
from watchword_directory.declared.roles import Assignments, Roles
from watchword_directory.edge import Parts
from watchword_runtime.declared import Kind


def kinds(parts: Parts) -> list[Kind[Any]]:
    """Every kind of this service."""
    return [Organizations(parts), Attributes(), Roles(parts), Groups(parts), Users(parts), Assignments(parts)]
