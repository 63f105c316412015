"""What the manual says and the source does not."""

from __future__ import annotations

# What an error's class cannot say of itself: what to do about it.
FIXES = {
    "OAuthError": "Look into the log: the cause is there, with its traceback.",
    "InvalidRequest": "Send every parameter once, in the body. `error_description` says which "
    "one was missing, repeated or not of its form.",
    "InvalidClient": "Check the client's id and secret, and send them one way: by HTTP Basic or "
    "in the body. A lost secret is replaced by `watchword client rotate-secret`.",
    "InvalidGrant": "Sign in again. Whether the token was reused, expired, revoked, or of "
    "another client is in the log only.",
    "BadCredentials": "Check the user name and the password. The log's `login.failed` says "
    "whether the user is unknown or disabled, or the password wrong; callers are never told.",
    "UnauthorizedClient": "Register the client for this grant type; a password login is for the "
    "built-in client only.",
    "UnsupportedGrantType": "Use one of `password` (unless `password_login` is `off`), "
    "`refresh_token`, `client_credentials`.",
    "InvalidScope": "Ask for scopes that were declared in `Auth(scopes=...)` and that the user "
    "or client may have.",
    "InvalidTarget": "Send a `resource` that the client was registered for, or none.",
    "UnsupportedMediaType": "Send the form as `application/x-www-form-urlencoded`; curl does so "
    "with `-d`.",
    "TooLarge": "Send a smaller body; a token request needs a few hundred bytes.",
    "WrongMethod": "Send the request with a method that `Allow` names; for tokens that is POST.",
    "NoToken": "Send `Authorization: Bearer <access_token>`; `POST /token` gives one.",
    "InvalidToken": "Refresh, then sign in again. In development `hint` says what was wrong; "
    "in production the log does.",
    "InsufficientScope": "Ask for the scopes that `scope` lists when you sign in, or give them "
    "to the user.",
    "StaleLogin": "Sign in again; the answer's `max_age` says how recent it must be.",
    "NoUser": "Use a token that a person signed in for; a client's own token has no user.",
    "TooManyRequests": "Wait for as many seconds as `Retry-After` says. Limits are settings.",
    "Busy": "Try again after `Retry-After` seconds. When it happens often, give logins more "
    "processors or look at the disk.",
}

TITLES = {
    "5869": "HKDF",
    "6177": "IPv6 address assignment",
    "6455": "The WebSocket protocol",
    "6585": "Additional HTTP status codes",
    "6749": "OAuth 2.0",
    "6750": "Bearer token usage",
    "7009": "Token revocation",
    "7515": "JSON Web Signature",
    "7517": "JSON Web Key",
    "7518": "JSON Web Algorithms",
    "7519": "JSON Web Token",
    "7636": "PKCE",
    "7638": "JWK thumbprint",
    "7662": "Token introspection",
    "7914": "scrypt",
    "8018": "Password-based cryptography (PBKDF2)",
    "8032": "EdDSA",
    "8037": "Ed25519 in JOSE",
    "8259": "JSON",
    "8414": "Authorization server metadata",
    "8707": "Resource indicators",
    "8725": "JWT best current practices",
    "9068": "JWT profile for access tokens",
    "9106": "Argon2",
    "9110": "HTTP semantics",
    "9111": "HTTP caching",
    "9239": "Media types of scripts",
    "9470": "Step-up authentication challenge",
    "9700": "Best current practice for OAuth 2.0 security",
    "9728": "Protected resource metadata",
    "9864": "Fully specified algorithms for JOSE",
}
