"""Secrets at rest: AES-256-GCM envelopes under a master key, and keys derived from it for other purposes."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32
NONCE_BYTES = 12
VERSION = "v1"


class CryptoError(Exception):
    """A key or an envelope cannot be used; the message never contains either."""


def associated_data(table: str, column: str, row: str) -> bytes:
    """Return what binds an envelope to its place, so that it cannot be moved to another row or column."""
    return f"{table}|{column}|{row}".encode()


class MasterKey:
    """The platform's master key and what may be done with it."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise CryptoError(f"A master key has {KEY_BYTES} bytes; this one has {len(key)}.")
        self._key = key
        self.id = hashlib.sha256(b"nagaya key id" + key).hexdigest()[:8]

    def __repr__(self) -> str:
        return f"MasterKey(id={self.id!r})"

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the key from a file that only its owner may read.

        Raises CryptoError when the file is missing, readable by others, or holds no key.
        """
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise CryptoError(f"The master key {path} cannot be read: {error.strerror}.") from error
        with os.fdopen(descriptor, "rb") as stream:
            if os.fstat(stream.fileno()).st_mode & 0o077:
                raise CryptoError(f"The master key {path} can be read by others; run `chmod 600 {path}`.")
            text = stream.read(4096)
        try:
            return cls(base64.b64decode(text.strip(), validate=True))
        except (binascii.Error, ValueError) as error:
            raise CryptoError(f"{path} holds no master key (32 bytes in base64).") from error

    @classmethod
    def load_or_create(cls, path: Path) -> Self:
        """Read the key, or make one (0600) when there is none; of several callers at once one makes it.

        Raises CryptoError, or OSError when the file cannot be written.
        """
        if not path.exists():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                with os.fdopen(descriptor, "wb") as stream:
                    stream.write(base64.b64encode(secrets.token_bytes(KEY_BYTES)) + b"\n")
                    stream.flush()
                    os.fsync(stream.fileno())
                with suppress(FileExistsError):  # Unlike a rename a link never replaces a key that another one made.
                    os.link(temporary, path)
            finally:
                temporary.unlink()
        return cls.load(path)

    def derive(self, purpose: str) -> bytes:
        """Return a 32-byte key for one purpose (HKDF-SHA-256, RFC 5869)."""
        return HKDF(hashes.SHA256(), KEY_BYTES, salt=None, info=b"nagaya|" + purpose.encode()).derive(self._key)

    def seal(self, plaintext: str, associated: bytes) -> str:
        """Return the envelope `v1.<key id>.<base64url(nonce ‖ ciphertext)>` of a text, bound to `associated`."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = nonce + AESGCM(self.derive("envelopes")).encrypt(nonce, plaintext.encode(), associated)
        return f"{VERSION}.{self.id}.{base64.urlsafe_b64encode(sealed).decode().rstrip('=')}"

    def open(self, envelope: str, associated: bytes) -> str:
        """Return the text in an envelope.

        Raises CryptoError when it is damaged, of another key, or bound to another place.
        """
        version, _, rest = envelope.partition(".")
        key_id, _, body = rest.partition(".")
        if version != VERSION or not body:
            raise CryptoError("This is no envelope of a known version.")
        if key_id != self.id:
            raise CryptoError(f"This envelope was made with the key {key_id[:8]}, not with {self.id}.")
        try:
            sealed = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
            plain = AESGCM(self.derive("envelopes")).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], associated)
        except (InvalidTag, ValueError) as error:
            raise CryptoError("This envelope is damaged or belongs to another place.") from error
        return plain.decode()


class KeyRing:
    """The current master key and earlier ones, so that envelopes stay readable while they are rotated."""

    def __init__(self, current: MasterKey, *earlier: MasterKey) -> None:
        self.current = current
        self._keys = {key.id: key for key in (*earlier, current)}

    def seal(self, plaintext: str, associated: bytes) -> str:
        """Seal with the current key."""
        return self.current.seal(plaintext, associated)

    def open(self, envelope: str, associated: bytes) -> str:
        """Open with whichever key made the envelope. Raises CryptoError."""
        key = self._keys.get(envelope.split(".")[1] if envelope.count(".") == 2 else "", self.current)
        return key.open(envelope, associated)
