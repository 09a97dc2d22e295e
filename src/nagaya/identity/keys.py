"""The platform's own keys: the master key, what is derived from it, and the key that signs tokens."""

import base64
import hashlib
import hmac
import os
import secrets
from pathlib import Path
from typing import Self

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from joserfc.jwk import OKPKey

MASTER_KEY_BYTES = 32


class KeyFileError(Exception):
    """A key file is missing, unreadable or damaged; the message says which and what to do."""


class KeyRing:
    """The master key and the signing key of one installation.

    Args:
        master: 32 random bytes.
        signing_pem: Private Ed25519 key, PEM, PKCS #8.
    """

    def __init__(self, master: bytes, signing_pem: bytes) -> None:
        self.master = master
        self.kid = OKPKey.import_key(signing_pem).thumbprint()
        self.signing = OKPKey.import_key(signing_pem, {"kid": self.kid, "alg": "EdDSA", "use": "sig"})

    def subkey(self, purpose: str) -> bytes:
        """Returns a key of 32 bytes for one purpose only (HKDF-SHA-256, RFC 5869).

        Args:
            purpose: Name of the purpose, e.g. `api-key`.
        """
        derivation = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=f"nagaya/{purpose}".encode())
        return derivation.derive(self.master)

    def keyed_hash(self, purpose: str, value: str) -> str:
        """Returns the HMAC-SHA-256 of `value` in hexadecimal, under the key of `purpose`.

        Args:
            purpose: What the value is, so that hashes of different kinds never match.
            value: The secret.
        """
        return hmac.new(self.subkey(purpose), value.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()

    def jwks(self) -> dict[str, list[dict[str, object]]]:
        """Returns the public keys that verify the platform's tokens (RFC 7517)."""
        return {"keys": [dict(self.signing.as_dict(private=False))]}

    @classmethod
    def generate(cls) -> Self:
        """Returns a ring of fresh keys that are stored nowhere."""
        return cls(secrets.token_bytes(MASTER_KEY_BYTES), _new_signing_pem())

    @classmethod
    def load(cls, data_dir: Path, master_key_file: Path | None = None) -> Self:
        """Reads the keys of an installation.

        Args:
            data_dir: Data directory.
            master_key_file: The master key's file, if it is kept elsewhere.

        Raises:
            KeyFileError: A file is missing, unreadable or damaged.
        """
        master_path = master_key_file or data_dir / "keys" / "master.key"
        try:
            master = base64.b64decode(_read(master_path).strip(), validate=True)
        except ValueError as error:
            raise KeyFileError(f"{master_path} is not base64; restore it from a backup.") from error
        if len(master) != MASTER_KEY_BYTES:
            raise KeyFileError(f"{master_path} does not hold a key of 32 bytes; restore it from a backup.")
        signing_path = data_dir / "keys" / "signing.pem"
        try:
            return cls(master, _read(signing_path))
        except ValueError as error:
            raise KeyFileError(f"{signing_path} is not a private key; restore it from a backup.") from error


def ensure_keys(data_dir: Path, *, master_key_file: Path | None = None, owner: int | None = None) -> KeyRing:
    """Makes the key files that do not exist yet and returns the keys.

    Two processes may call this at once: the first one's file wins.

    Args:
        data_dir: Data directory.
        master_key_file: The master key's file, if it is kept elsewhere; never created there.
        owner: User (and group) id that the files are to belong to, when running as root.

    Raises:
        KeyFileError: A file is damaged or cannot be made.
    """
    directory = data_dir / "keys"
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if owner is not None:
            os.chown(directory, owner, owner)
        if master_key_file is None:
            _create(directory / "master.key", base64.b64encode(secrets.token_bytes(MASTER_KEY_BYTES)) + b"\n", owner)
        _create(directory / "signing.pem", _new_signing_pem(), owner)
    except OSError as error:
        raise KeyFileError(f"The keys in {directory} cannot be made: {error.strerror}.") from error
    return KeyRing.load(data_dir, master_key_file)


def _new_signing_pem() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise KeyFileError(f"The key file {path} cannot be read: {error.strerror}.") from error


def _create(path: Path, content: bytes, owner: int | None) -> None:
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
            if owner is not None:
                os.fchown(file.fileno(), owner, owner)
        try:
            os.link(temporary, path)  # Unlike a rename, a link never replaces what another process made meanwhile.
        except FileExistsError:
            return
        directory = os.open(path.parent, os.O_RDONLY)
        os.fsync(directory)
        os.close(directory)
    finally:
        temporary.unlink(missing_ok=True)
