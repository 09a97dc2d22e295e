"""Wire types of identity."""

import datetime as dt
import uuid
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, Field, StringConstraints, model_validator

from nagaya.http.schemas import Email, Input, Output, RecordRead, Text, clean

Username = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z0-9][a-z0-9._@+-]{1,62}[a-z0-9]$", min_length=3, max_length=64),
]
MachineName = Annotated[
    # No "@": what looks like an e-mail address would pass for a person in lists of members.
    str,
    StringConstraints(pattern=r"^[a-z0-9][a-z0-9._+-]{1,62}[a-z0-9]$", min_length=3, max_length=64),
]
Name = Annotated[str, StringConstraints(min_length=1, max_length=64, strip_whitespace=True), AfterValidator(clean)]
Password = Annotated[str, StringConstraints(min_length=1, max_length=256), AfterValidator(clean)]
ShortText = Annotated[str, StringConstraints(max_length=2000), AfterValidator(clean)]


class UserRead(RecordRead):
    """A user."""

    username: str
    email: str
    name: str
    is_superuser: bool
    is_active: bool
    last_login: dt.datetime | None


class UserCreate(Input):
    """Body of `POST /users`."""

    email: Email | None = Field(default=None, description="Needed unless `username` is given.")
    username: Username | None = Field(default=None, description="Made from the email if left out; never changes.")
    name: Text = ""
    password: Password | None = Field(default=None, description="Without one the answer carries a link to set one.")
    is_superuser: bool = False

    @model_validator(mode="after")
    def _named(self) -> Self:
        if self.email is None and self.username is None:
            raise ValueError("give an email, a username or both")
        return self


class FirstAdmin(Input):
    """What the page of the set-up link asks of the first administrator, beside the password."""

    email: Email
    name: Text = ""


class UserCreated(UserRead):
    """A new user, and the link by which the person sets a password, if none was given."""

    password_link: str | None = Field(default=None, description="Works once, for 24 hours; shown only here.")


class UserUpdate(Input):
    """Body of `PATCH /users/{id}`; what is left out stays."""

    email: Email | None = None
    name: Text | None = None
    password: Password | None = None
    is_active: bool | None = None
    is_superuser: bool | None = None


class MeUpdate(Input):
    """Body of `PATCH /users/me`."""

    name: Text


class MeRead(Output):
    """Who the caller is."""

    id: uuid.UUID
    kind: Literal["user", "service_account"]
    username: str
    email: str | None
    name: str
    is_superuser: bool
    session_id: uuid.UUID | None
    organization_id: uuid.UUID | None = Field(description="The organization of a service account.")


class PasswordChange(Input):
    """Body of `PUT /users/me/password`."""

    old_password: Password
    new_password: Password


class SessionRead(RecordRead):
    """A sign-in that has not ended."""

    kind: Literal["browser", "password", "device", "api_key"]
    user_agent: str
    address: str
    expires: dt.datetime
    last_seen: dt.datetime | None
    current: bool = Field(default=False, description="Whether it is the one that asks.")


class ApiKeyRead(RecordRead):
    """An API key, without its value."""

    name: str
    description: str
    hint: str = Field(description="The last four characters.")
    is_active: bool
    expires: dt.datetime | None
    revoked: dt.datetime | None
    last_used: dt.datetime | None


class ApiKeyCreated(ApiKeyRead):
    """A new API key."""

    key: str = Field(description="The key itself. It is shown only now.")


class ApiKeyCreate(Input):
    """Body of the creation of an API key."""

    name: Name
    description: ShortText = ""
    expires: dt.datetime | None = Field(default=None, description="By default 90 days from now.")
    expires_in_minutes: int | None = Field(default=None, ge=1, le=5_256_000, description="Instead of `expires`.")


class ApiKeyUpdate(Input):
    """Body of the change of an API key; what is left out stays."""

    name: Name | None = None
    description: ShortText | None = None
    is_active: bool | None = None


class ApiKeyRotate(Input):
    """Body of the rotation of an API key."""

    retain_period_minutes: int = Field(default=0, ge=0, le=44_640, description="How long the old value works on.")


class ServiceAccountRead(RecordRead):
    """A service account."""

    organization_id: uuid.UUID
    name: str = Field(validation_alias="username")
    description: str
    is_active: bool


class ServiceAccountCreate(Input):
    """Body of the creation of a service account."""

    name: MachineName
    description: ShortText = ""
    roles: list[Text] = Field(
        default_factory=lambda: ["organization_member"],
        max_length=10,
        description="Organization roles to give; with an empty list it can do nothing until somebody gives it one.",
    )


class ServiceAccountUpdate(Input):
    """Body of the change of a service account; what is left out stays."""

    description: ShortText | None = None
    is_active: bool | None = None


class DeviceRead(RecordRead):
    """A device authorization that the caller has answered, or is asked to answer."""

    client_id: uuid.UUID
    tenant_id: uuid.UUID | None
    status: Literal["pending", "approved", "denied", "used"]
    expires: dt.datetime
    hostname: str
    system: str
    python_version: str
    zenml_version: str
    address: str


class DeviceVerify(Input):
    """Body of `PUT /devices/verify`."""

    user_code: Annotated[str, StringConstraints(min_length=8, max_length=32), AfterValidator(clean)]
    approve: bool = True
    tenant_id: uuid.UUID | None = Field(default=None, description="The tenant to connect to; needed to approve.")


class DeviceUpdate(Input):
    """Body of `PUT /devices/{id}`."""

    hostname: Annotated[str, StringConstraints(max_length=200), AfterValidator(clean)]


class DeviceAuthorization(BaseModel):
    """Answer of RFC 8628 section 3.2."""

    device_code: str
    user_code: str
    verification_uri: str
    verification_uri_complete: str
    expires_in: int
    interval: int


class OAuthToken(BaseModel):
    """Answer of RFC 6749 section 5.1, with what the stock client looks for besides."""

    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - a type, not a secret.
    expires_in: int
    scope: str | None = None
    device_id: uuid.UUID | None = None
    device_metadata: dict[str, Any] | None = Field(
        default=None, description="`tenant_id`: the tenant that was chosen in the browser (zenml ≤ 0.98.0 reads it)."
    )


class OAuthError(BaseModel):
    """Error answer of RFC 6749 section 5.2. No other members: the stock client fails on any."""

    error: str
    error_description: str


class Connection(BaseModel):
    """A way to sign in."""

    name: Literal["password"] = "password"
    display_name: str = "User name and password"


class TenantToken(BaseModel):
    """A token for one tenant."""

    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - a type, not a secret.
    expires_in: int


class ExternalUser(BaseModel):
    """What a ZenML server learns about a user (zenml 0.75.1 to 0.98.0, `ExternalUserModel`)."""

    id: uuid.UUID
    username: str
    email: str
    name: str
    is_admin: bool
    is_superuser: bool
    is_service_account: bool
    avatar_url: str | None = None
    oidc_claims: dict[str, Any] | None = None


class ServerInfo(BaseModel):
    """Answer of `GET /server/info`."""

    name: str = "nagaya"
    version: str
    public_url: str
    api_url: str
    instance_id: str | None


class Health(BaseModel):
    """Answer of `GET /health` and `GET /ready`."""

    status: Literal["ok"] = "ok"
