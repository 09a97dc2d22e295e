"""Keys in backups: sealed under a passphrase where that is asked for, and the proof that a backup is one of ours."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from nagaya.backup.errors import BackupError
from nagaya.crypto import CryptoError, MasterKey
from nagaya.identity.keys import KeyFileError, Keys

MASTER_NAME, SIGNING_NAME = "master.key", "signing.pem"
SHORTEST_PASSPHRASE = 12
_N, _R, _P = 1 << 15, 8, 3
"""scrypt: 32 MiB and about a tenth of a second (RFC 7914; OWASP's second choice for this memory)."""
_MOST_MEMORY = 256 * 1024 * 1024


@dataclass(frozen=True)
class KeyFiles:
    """The contents of the two key files; `signing` is None where there is none."""

    master: bytes
    signing: bytes | None

    @classmethod
    def read(cls, directory: Path, master_key_file: Path | None = None) -> KeyFiles:
        """Read the files of a `keys` directory, or a copy of one. Raises BackupError."""
        try:
            signing = directory / SIGNING_NAME
            master = (master_key_file or directory / MASTER_NAME).read_bytes()
            return cls(master, signing.read_bytes() if signing.exists() else None)
        except OSError as error:
            raise BackupError(f"The keys in {directory} cannot be read: {error.strerror}.") from error

    def master_key(self) -> MasterKey:
        """Return the master key. Raises BackupError."""
        try:
            return MasterKey(base64.b64decode(self.master.strip(), validate=True))
        except (CryptoError, binascii.Error, ValueError) as error:
            raise BackupError(f"{MASTER_NAME} holds no master key (32 bytes in base64).") from error

    def signing_id(self) -> str:
        """Return the id of the signing key, empty where there is none. Raises BackupError."""
        if self.signing is None:
            return ""
        try:
            return Keys(self.master_key(), self.signing).kid
        except (KeyFileError, ValueError) as error:
            raise BackupError(f"{SIGNING_NAME} holds no private key.") from error


def seal_manifest(master: MasterKey, manifest: bytes) -> str:
    """Return the proof (HMAC-SHA-256) that whoever wrote `manifest` had the master key."""
    return hmac.new(master.derive("backup manifest"), manifest, hashlib.sha256).hexdigest()


def check_seal(master: MasterKey, manifest: bytes, seal: bytes) -> None:
    """Raises BackupError when the manifest was not sealed with this key."""
    if not hmac.compare_digest(seal_manifest(master, manifest).encode(), seal.strip()):
        raise BackupError("The backup was changed after it was made: its seal does not fit.")


def seal_keys(keys: KeyFiles, passphrase: str, backup: str) -> bytes:
    """Return the member `keys.sealed`: AES-256-GCM under a key that scrypt makes of the passphrase."""
    if len(passphrase) < SHORTEST_PASSPHRASE:
        raise BackupError(f"The passphrase needs at least {SHORTEST_PASSPHRASE} characters.")
    salt, nonce = secrets.token_bytes(16), secrets.token_bytes(12)
    plain = json.dumps({MASTER_NAME: _text(keys.master), SIGNING_NAME: _text(keys.signing or b"")}).encode()
    key = _derive(passphrase, salt, _N, _R, _P)
    sealed = AESGCM(key).encrypt(nonce, plain, f"backup|{backup}".encode())
    value = {"kdf": "scrypt", "n": _N, "r": _R, "p": _P, "salt": _text(salt), "nonce": _text(nonce)}
    return json.dumps(value | {"sealed": _text(sealed)}).encode()


def open_keys(content: bytes, passphrase: str, backup: str) -> KeyFiles:
    """Return the keys of `keys.sealed`. Raises BackupError for a wrong passphrase or a damaged member."""
    try:
        value = json.loads(content)
        cost = int(value["n"]), int(value["r"]), int(value["p"])
        salt, nonce, sealed = (base64.b64decode(value[name], validate=True) for name in ("salt", "nonce", "sealed"))
        # The costs come from the file: it must not be able to ask for all memory.
        if value["kdf"] != "scrypt" or 128 * cost[0] * cost[1] > _MOST_MEMORY or not 1 <= cost[2] <= 16:
            raise BackupError("The backup's keys are sealed in a way that this version does not know.")
        key = _derive(passphrase, salt, *cost)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BackupError("The backup's keys are damaged.") from error
    try:
        files = json.loads(AESGCM(key).decrypt(nonce, sealed, f"backup|{backup}".encode()))
    except (InvalidTag, ValueError) as error:
        raise BackupError("The passphrase is wrong, or the backup's keys are damaged.") from error
    signing = base64.b64decode(files[SIGNING_NAME])
    return KeyFiles(base64.b64decode(files[MASTER_NAME]), signing or None)


def _derive(passphrase: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(passphrase.encode(), salt=salt, n=n, r=r, p=p, maxmem=2 * _MOST_MEMORY, dklen=32)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def write_keys(directory: Path, keys: KeyFiles, owner: int | None) -> None:
    """Write both files (0600) into a new data directory's `keys`."""
    directory.mkdir(mode=0o700, exist_ok=True)
    for name, content in ((MASTER_NAME, keys.master), (SIGNING_NAME, keys.signing)):
        if content is None:
            continue
        descriptor = os.open(directory / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
            if owner is not None:
                os.fchown(stream.fileno(), owner, owner)
    if owner is not None:
        os.chown(directory, owner, owner)
