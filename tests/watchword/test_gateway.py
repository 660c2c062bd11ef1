"""The gateway: the longest prefix wins, nothing internal is reachable, the base path comes off once."""

import pytest

from watchword.gateway import BasePath, Gateway, by_prefix
from watchword_runtime.service import ASGIApp, Message, Receive, Scope, Send


def _named(name: str) -> ASGIApp:
    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        body = f"{name} {scope['path']} {scope['raw_path'].decode()}".encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    return app


GATEWAY = Gateway(
    by_prefix(
        [
            (("/oauth2/authorize", "/login", "/consent"), _named("authz")),
            (("/login/identity", "/api/v1/users"), _named("directory")),
            (("/api/v1/providers",), _named("admin")),
            (("/api/auth/sso/", "/api/v1/providers/*/test"), _named("federation")),
        ]
    ),
    default=_named("default"),
)


async def _ask(app: ASGIApp, path: str, raw_path: str | None = None) -> tuple[int, str]:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    await app({"type": "http", "path": path, "raw_path": (raw_path or path).encode()}, receive, send)
    return sent[0]["status"], sent[1]["body"].decode()


@pytest.mark.parametrize(
    ("path", "owner"),
    [
        ("/login", "authz"),
        ("/login/", "authz"),
        ("/login/provider/x", "authz"),
        ("/login/identity", "directory"),
        ("/login/identity/next", "directory"),
        ("/login/identityx", "authz"),
        ("/loginx", "default"),
        ("/api/auth/sso/callback/Okta", "federation"),
        ("/api/auth/sso", "federation"),
        ("/api/v1/users", "directory"),
        ("/api/v1/providers/Okta", "admin"),
        ("/api/v1/providers/Okta/test", "federation"),
        ("/api/v1/providers/Okta/test/", "federation"),
        ("/api/v1/providers/Okta/testx", "admin"),
        ("/api/v1/providers/test", "admin"),
        ("/api/v1/providers//test", "admin"),
        ("/api/v1/usersx", "default"),
        ("/api/v1", "default"),
        ("/", "default"),
        ("//login", "default"),
    ],
)
async def test_the_longest_prefix_of_whole_segments_wins(path: str, owner: str) -> None:
    assert (await _ask(GATEWAY, path))[1].split()[0] == owner


@pytest.mark.parametrize("path", ["/internal", "/internal/", "/internal/export/user"])
async def test_internal_paths_do_not_exist_outside(path: str) -> None:
    status, body = await _ask(GATEWAY, path)
    assert status == 404
    assert "nothing here" in body


async def test_a_service_of_its_own_answers_the_pulls_of_others() -> None:
    alone = Gateway({}, default=_named("token"), internal=True)
    assert (await _ask(alone, "/internal/export/key"))[0] == 200
    assert (await _ask(BasePath(alone, "/auth"), "/internal/export/key"))[0] == 200


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/auth/login", "authz /login /login"),
        ("/auth", "default / /"),
        ("/auth/", "default / /"),
        ("/auth/auth/login", "default /auth/login /auth/login"),
        ("/.well-known/oauth-authorization-server/auth", "default /.well-known/oauth-authorization-server"),
        ("/.well-known/oauth-protected-resource/auth", "default /.well-known/oauth-protected-resource/auth"),
        ("/.well-known/oauth-protected-resource/mcp", "default /.well-known/oauth-protected-resource/mcp"),
    ],
)
@pytest.mark.spec("RFC 8414 3.1")
async def test_the_base_path_comes_off_once(path: str, answer: str) -> None:
    assert (await _ask(BasePath(GATEWAY, "/auth"), path))[1].startswith(answer)


@pytest.mark.parametrize("path", ["/login", "/authx/login", "/", "/.well-known/oauth-authorization-server"])
async def test_what_lies_outside_the_base_path_is_not_found(path: str) -> None:
    assert (await _ask(BasePath(GATEWAY, "/auth"), path))[0] == 404


async def test_the_raw_path_keeps_its_escapes() -> None:
    assert (await _ask(BasePath(GATEWAY, "/auth"), "/auth/login/a b", "/auth/login/a%20b"))[1] == (
        "authz /login/a b /login/a%20b"
    )


async def test_the_root_leads_to_the_console() -> None:
    gateway = Gateway({}, default=_named("default"), home="https://sso.example.com/auth/admin")
    assert (await _ask(gateway, "/"))[0] == 303
    assert (await _ask(BasePath(gateway, "/auth"), "/auth"))[0] == 303
    assert (await _ask(gateway, "/x"))[0] == 200


def test_two_services_cannot_claim_the_same_path() -> None:
    with pytest.raises(ValueError, match="/login"):
        by_prefix([(("/login",), _named("a")), (("/login/",), _named("b"))])
