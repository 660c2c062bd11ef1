"""What to write instead: for people who know the expressions of Argo Workflows (expr-lang), or another language."""

import re
from typing import Final

# Texts and comments of CEL; what is left when they are taken out is code.
_NOT_CODE: Final = re.compile(
    r"""r?b?(?:\"\"\".*?\"\"\"|'''.*?'''|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')|//[^\n]*""", re.DOTALL | re.IGNORECASE
)
_HINTS: Final = tuple(
    (re.compile(pattern), hint)
    for pattern, hint in (
        (r"\band\b", "write && for and"),
        (r"\bor\b", "write || for or"),
        (r"\bnot\b", "write ! for not: !('contractors' in groups)"),
        (r"(?<![.\w])(?:any|all|none|one)\s*\(|\{\s*#|#", "write groups.exists(g, g == '…') or groups.all(g, …)"),
        (r"\w\s+(?:matches|contains|startsWith|endsWith)\s+", "write it as a call: sub.matches('^…$')"),
        (r"(?<![=!<>])=(?![=~])", "write == to compare"),
        (r"\.\s*(?:map|filter|exists_one)\s*\(", "map, filter and exists_one are not offered: use exists or all"),
        (r"\.\s*(?:lower|upper|lowerAscii|toLower\w*)\s*\(|\blower\s*\(", "to ignore case: sub.matches('(?i)^…$')"),
        (r"\+", "texts, lists and numbers cannot be added"),
        (r"\blen\s*\(", "write size(groups)"),
        (r"\bnil\b|\bNone\b", "write null; has(claims.department) asks whether there is one"),
    )
)  # fmt: skip


def hint_for(source: str) -> str:
    """One line of advice about an expression that is refused, or "" when nothing in it looks familiar."""
    code = _NOT_CODE.sub("''", source)
    return next((hint for pattern, hint in _HINTS if pattern.search(code)), "")
