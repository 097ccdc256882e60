"""A certificate authority and its certificates, as files for servers and clients."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from trustme import CA, LeafCert

LONG_AGO = (datetime(2020, 1, 1, tzinfo=UTC), datetime(2021, 1, 1, tzinfo=UTC))


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A certificate and its key, in PEM."""

    chain: Path
    key: Path


class Authority:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._ca = CA()
        self.file = directory / "ca.pem"
        self._ca.cert_pem.write_to_path(self.file)

    def certificate(self, name: str, *, expired: bool = False) -> Certificate:
        """A certificate for a host or user of this name."""
        not_before, not_after = LONG_AGO if expired else (None, None)
        leaf = self._ca.issue_cert(
            name, common_name=name, not_before=not_before, not_after=not_after
        )
        return self._written(leaf, f"{name}-expired" if expired else name)

    def _written(self, leaf: LeafCert, stem: str) -> Certificate:
        chain, key = self._directory / f"{stem}.pem", self._directory / f"{stem}.key"
        for pem in leaf.cert_chain_pems:
            pem.write_to_path(chain, append=True)
        leaf.private_key_pem.write_to_path(key)
        key.chmod(0o600)  # libpq refuses a key that others can read
        return Certificate(chain=chain, key=key)
