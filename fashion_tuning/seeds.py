"""Random states derived from names, so that none depends on what ran before."""

import hashlib


def derive_seed(*parts: int | str) -> int:
    """A number in 0..2**31 - 1 from a SHA-256 over the parts, the same on every machine.

    Hashing keeps streams apart: seeds that merely count up are shifted copies of each other
    in libraries that count up themselves.
    """
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1
