"""The platform's own keys: the master key and the key that signs tokens."""

import hashlib
import hmac
import os
import secrets
from pathlib import Path
from typing import Self

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc.jwk import OKPKey

from nagaya.crypto import KEY_BYTES, CryptoError, MasterKey


class KeyFileError(Exception):
    """A key file is missing, unreadable or damaged; the message says which and what to do."""


class Keys:
    """The master key and the signing key of one installation.

    Args:
        master: The master key.
        signing_pem: Private Ed25519 key, PEM, PKCS #8.
    """

    def __init__(self, master: MasterKey, signing_pem: bytes) -> None:
        self.master = master
        self.kid = OKPKey.import_key(signing_pem).thumbprint()
        self.signing = OKPKey.import_key(signing_pem, {"kid": self.kid, "alg": "EdDSA", "use": "sig"})
        self._subkeys: dict[str, bytes] = {}

    def keyed_hash(self, purpose: str, value: str) -> str:
        """Returns the HMAC-SHA-256 of `value` in hexadecimal, under a key that is derived for `purpose`.

        Args:
            purpose: What the value is, so that hashes of different kinds never match.
            value: The secret.
        """
        key = self._subkeys.get(purpose)
        if key is None:
            key = self._subkeys[purpose] = self.master.derive(purpose)
        return hmac.new(key, value.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()

    def jwks(self) -> dict[str, list[dict[str, object]]]:
        """Returns the public keys that verify the platform's tokens (RFC 7517)."""
        return {"keys": [dict(self.signing.as_dict(private=False))]}

    @classmethod
    def generate(cls) -> Self:
        """Returns fresh keys that are stored nowhere."""
        return cls(MasterKey(secrets.token_bytes(KEY_BYTES)), _new_signing_pem())

    @classmethod
    def load(cls, data_dir: Path, master_key_file: Path | None = None) -> Self:
        """Reads the keys of an installation.

        Args:
            data_dir: Data directory.
            master_key_file: The master key's file, if it is kept elsewhere.

        Raises:
            KeyFileError: A file is missing, unreadable or damaged.
        """
        path = data_dir / "keys" / "signing.pem"
        try:
            master = MasterKey.load(master_key_file or data_dir / "keys" / "master.key")
            return cls(master, path.read_bytes())
        except CryptoError as error:
            raise KeyFileError(str(error)) from error
        except OSError as error:
            raise KeyFileError(f"The key file {path} cannot be read: {error.strerror}.") from error
        except ValueError as error:
            raise KeyFileError(f"{path} is not a private key; restore it from a backup.") from error


def ensure_keys(data_dir: Path, *, master_key_file: Path | None = None) -> Keys:
    """Makes the key files that do not exist yet and returns the keys.

    Several processes may call this at once: the first one's file wins.

    Args:
        data_dir: Data directory.
        master_key_file: The master key's file, if it is kept elsewhere; never created there.

    Raises:
        KeyFileError: A file is damaged or cannot be made.
    """
    directory = data_dir / "keys"
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if master_key_file is None:
            MasterKey.load_or_create(directory / "master.key")
        _create(directory / "signing.pem", _new_signing_pem())
    except CryptoError as error:
        raise KeyFileError(str(error)) from error
    except OSError as error:
        raise KeyFileError(f"The keys in {directory} cannot be made: {error.strerror}.") from error
    return Keys.load(data_dir, master_key_file)


def _new_signing_pem() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _create(path: Path, content: bytes) -> None:
    """Writes a new file completely or not at all; an existing one stays."""
    if path.exists():
        return
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)  # Unlike a rename, a link never replaces what another process made meanwhile.
        except FileExistsError:
            return
    finally:
        temporary.unlink(missing_ok=True)
