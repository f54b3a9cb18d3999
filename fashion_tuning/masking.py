"""Passwords and tokens: whatever leaves the process has *** in their place.

A password gets here inside an address (`http://user:password@host`, `?password=`), or in the environment. The store
shows its address masked, and errors, log lines and tracebacks are masked as they are made: a library may put the
address that it was given into anything that it says.
"""

from __future__ import annotations

import os
import re
from typing import Final
from urllib.parse import quote, unquote_to_bytes

MASK: Final = "***"

_SHORTEST: Final = 8  # letters of what is looked for as it is: a shorter one may be any word, and stands in addresses
_NAMES: Final = r"passw(?:or)?d|passphrase|pwd|token|secret|signature|credential|api_?key|access_?key"
_SECRET_SETTING: Final = re.compile(
    r"(?:passw(?:or)?d|passphrase|token(?!iz)|secret|(?:api|access)_?key)(?!.*_(?:file|path|dir|id)$)", re.IGNORECASE
)

# To the last @ of a word: a password may hold one itself, and everything else that ends an address.
_IN_ADDRESS: Final = re.compile(r"([A-Za-z][\w+.-]*://[^\s:/?#@\[]*:)\S*@")
_IN_QUERY: Final = re.compile(rf"((?<![\w-])(?:[\w-]*(?:{_NAMES})[\w-]*|odbc_connect|sig)=)[^&;#\s'\"]+", re.IGNORECASE)
_WHOLE_ADDRESS: Final = re.compile(r"^((?:[\w+.-]+://)?[^:/?#@\[]*:).*@", re.DOTALL)

# scheme, name, password, the rest; first as every library reads it, then with a password that nobody has encoded.
_ADDRESS: Final = re.compile(r"([\w+.-]+://)([^:/?#@]*):([^/?#]*)@([^/?#@]+(?:[/?#].*)?)", re.DOTALL)
_UNENCODED: Final = re.compile(r"([\w+.-]+://)([^:/?#@]*):(?!\d+[/?#])(.*)@([^@]*)", re.DOTALL)

_known: set[str] = set()


def mask(text: str) -> str:
    """A text without the passwords of addresses in it, and without what is known to be secret."""
    settings = (value.strip() for name, value in os.environ.items() if _SECRET_SETTING.search(name))
    for secret in sorted({*_known, *settings}, key=len, reverse=True):
        if len(secret) >= _SHORTEST and secret in text:
            before, after = (r"(?<!\w)" if secret[0].isalnum() else ""), (r"(?!\w)" if secret[-1].isalnum() else "")
            text = re.sub(before + re.escape(secret) + after, MASK, text)
    return _IN_QUERY.sub(rf"\1{MASK}", _IN_ADDRESS.sub(rf"\1{MASK}@", text))


def mask_address(address: str) -> str:
    """An address by itself, whatever stands in it: rather too much of it is masked than too little."""
    if "://" not in address or _IN_ADDRESS.match(address) or _UNENCODED.match(address):
        address = _WHOLE_ADDRESS.sub(rf"\1{MASK}@", address)
    return mask(address)


def mask_error(error: BaseException) -> None:
    """Masks the words of an exception and of all that led to it: somebody else may print them."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        cause = waiting.pop()
        if cause is None or id(cause) in seen:
            continue
        seen.add(id(cause))
        waiting += [cause.__cause__, cause.__context__]
        cause.args = tuple(mask(words) if isinstance(words, str) else words for words in cause.args)
        if isinstance(words := getattr(cause, "message", None), str):  # MLflow's have it beside
            cause.message = mask(words)  # type: ignore[attr-defined]


def encode_password(address: str) -> str:
    """The same address with its password percent-encoded, as all libraries read and show it; others as they are.

    What the password is will be masked from now on, wherever it stands.
    """
    ways = (_ADDRESS, _UNENCODED)
    if address.startswith(("http://", "https://")):
        ways = (_UNENCODED, _ADDRESS)  # a place there has no @ in it, and a database's query may
    match = ways[0].fullmatch(address) or ways[1].fullmatch(address)
    if match is None:
        return address
    scheme, name, password, rest = match.groups()
    plain = unquote_to_bytes(password)
    encoded = quote(plain, safe="")
    _known.update((password, encoded, plain.decode(errors="replace"), repr(password)[1:-1]))
    return f"{scheme}{name}:{encoded}@{rest}"


def leave_password_out(address: str) -> str | None:
    """What may be typed with the password in the environment: a server's address without name and password.

    None where that is no way: databases have their password in the address alone.
    """
    match = _ADDRESS.fullmatch(encode_password(address))
    bare = match[1] + match[4] if match else address
    return bare if bare.startswith(("http://", "https://")) and mask(bare) == bare else None
