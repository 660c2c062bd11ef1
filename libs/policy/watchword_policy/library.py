"""The CEL library, loaded for the first expression: it takes 6 MB, and many installations have no rule."""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final


class _Later:
    """A module that is imported when something of it is asked for."""

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module("cel_expr_python.cel"), name)


if TYPE_CHECKING:
    from cel_expr_python import cel
else:
    cel: Final = _Later()

__all__ = ["cel"]
