"""What may be said of the tokens of a provider's people: which applications get which of them."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from watchword_admin.provider_documents import Url, printable

Name = Annotated[str, Field(min_length=1, max_length=512), AfterValidator(printable)]


class TokenAccess(BaseModel):
    """An application that may have tokens of the provider's people, and the most that it may ask for there.

    client_id: the application, as it is registered here.  audiences: what it may name as `audience` or `resource`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    client_id: Name
    audiences: Annotated[tuple[Name, ...], Field(max_length=64)] = ()
    scopes: Annotated[tuple[Name, ...], Field(max_length=64)] = ()


class TokenExchange(BaseModel):
    """How applications get tokens of the provider's people. Whoever is not among `clients` gets none.

    way: `kept` for those of the sign-in, renewed where they have to be; `rfc8693` (as Okta speaks it), `entra_obo`
    and `id_jag` for others in exchange for them.  user_token: which one is exchanged (ID-JAG: the ID token).
    client_id, token_endpoint, token_endpoint_auth_method, private_key_id, client_assertion_audience: of the client that
    exchanges, where it is not the one that people sign in through; its secret is `exchange_client_secret` or
    `exchange_private_key`.  client_assertion_audience: `token_endpoint`, `issuer`, or the audience itself.
    Spec: RFC 8693 2.1; draft-ietf-oauth-identity-assertion-authz-grant 4.3.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    way: Literal["kept", "rfc8693", "entra_obo", "id_jag"] = "kept"
    clients: Annotated[tuple[TokenAccess, ...], Field(max_length=64)] = ()
    user_token: Literal["access_token", "id_token"] = "access_token"
    client_id: Name | None = None
    token_endpoint: Url | None = None
    token_endpoint_auth_method: (
        Literal["client_secret_basic", "client_secret_post", "private_key_jwt", "none"] | None
    ) = None
    private_key_id: Name | None = None
    client_assertion_audience: Name | None = None

    @model_validator(mode="after")
    def _check_clients(self) -> Self:
        names = [each.client_id for each in self.clients]
        if len(set(names)) < len(names):
            raise ValueError("clients: each of them once")
        if self.way == "kept" and any(each.audiences or each.scopes for each in self.clients):
            raise ValueError("clients: a kept token is as the sign-in made it; audiences and scopes choose nothing")
        if self.way == "id_jag" and self.user_token != "id_token":
            raise ValueError("user_token: an ID-JAG is made of the ID token")
        if self.way == "id_jag" and not all(each.audiences for each in self.clients):
            raise ValueError("clients: an ID-JAG is for an authorization server, which audiences has to name")
        return self
