"""Groups without one of which an expression cannot be true: with hundreds of rules most need not be run."""

from collections.abc import Sequence

from watchword_policy.syntax import CALL, CONST, LIST, LOOP, Message, literal, variable

# None: nothing is known, the expression has to be run.
Needs = frozenset[str] | None


def needs_of(expr: Message) -> Needs:
    """Names of groups: whoever is in none of them makes the expression false, whatever else there is.

    In CEL false decides `&&` also where the other side fails, and true decides `||`: what is not run could not have
    failed either.
    """
    return _needs(expr, None)


def _needs(expr: Message, element: str | None) -> Needs:
    """element: the variable of `groups.exists(…)`, in whose condition we are: then it is what has to be one of them."""
    if expr.has(LOOP):
        return _exists(Message(expr.one(LOOP))) if element is None else None
    if not expr.has(CALL):
        return None
    call = Message(expr.one(CALL))
    name, arguments = call.one(2), [Message(part) for part in call.all(3)]
    if len(arguments) != 2:
        return None
    match name:
        case b"_&&_":
            found = [needs for each in arguments if (needs := _needs(each, element)) is not None]
            return min(found, key=len, default=None)
        case b"_||_":
            left, right = (_needs(each, element) for each in arguments)
            return None if left is None or right is None else left | right
        case b"@in" if element is None:
            return _texts(arguments[:1]) if variable(arguments[1]) == "groups" else None
        case b"@in":
            elements = [Message(part) for part in Message(arguments[1].one(LIST)).all(1)]
            return _texts(elements) if variable(arguments[0]) == element and arguments[1].has(LIST) else None
        case b"_==_" if element is not None:
            others = [each for each in arguments if variable(each) != element]
            return _texts(others) if len(others) == 1 else None
    return None


def _exists(loop: Message) -> Needs:
    """`groups.exists(element, condition)`: false at first, then `result || condition` for each, and the result."""
    result = loop.one(3).decode()
    step = Message(Message(loop.one(6)).one(CALL))
    arguments = [Message(part) for part in step.all(3)]
    first = Message(Message(loop.one(4)).one(CONST))
    is_exists = (
        variable(Message(loop.one(2))) == "groups"
        and not loop.has(8)
        and (first.has(2) and not first.number(2))
        and step.one(2) == b"_||_"
        and len(arguments) == 2
        and variable(arguments[0]) == result
        and variable(Message(loop.one(7))) == result
    )
    return _needs(arguments[1], loop.one(1).decode()) if is_exists else None


def _texts(parts: Sequence[Message]) -> Needs:
    texts = [text for part in parts if (text := literal(part)) is not None]
    return frozenset(texts) if len(texts) == len(parts) else None
