"""What is configured, written as the YAML documents that `watchword apply` reads."""

from collections.abc import Iterable, Mapping
from io import StringIO

from ruamel.yaml import YAML


def write(documents: Iterable[Mapping[str, object]], *, schema: str) -> str:
    """The documents as YAML. schema: the URL of their JSON Schema, which editors look at."""
    yaml = YAML(typ="rt", pure=True)
    yaml.default_flow_style = False
    yaml.explicit_start = True
    yaml.width = 120
    yaml.indent(mapping=2, sequence=4, offset=2)
    out = StringIO()
    out.write(f"# yaml-language-server: $schema={schema}\n")
    yaml.dump_all([dict(each) for each in documents], out)
    return out.getvalue()
