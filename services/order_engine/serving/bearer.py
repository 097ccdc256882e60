"""The key in an Authorization header."""


def bearer_key(authorization: str) -> str | None:
    """The key of a Bearer header; None when the header is empty or has another scheme."""
    scheme, _, key = authorization.partition(" ")
    return key.strip() if scheme.lower() == "bearer" else None
