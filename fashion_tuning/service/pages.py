"""The two pages: everything in one file each, and a policy that lets nothing else in."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader

from fashion_tuning.service.problems import KINDS

_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Page:
    """HTML, and the Content-Security-Policy it is sent with."""

    html: str
    policy: str


def upload_page() -> Page:
    """Where people drop their photos."""
    return _page((_FOLDER / "page.html").read_text(encoding="utf-8"))


def docs_page(openapi: Mapping[str, Any]) -> Page:
    """The API as people read it, made of its OpenAPI description; no script, so it works without a network."""
    environment = Environment(loader=FileSystemLoader(_FOLDER), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.get_template("docs.html.jinja")
    return _page(template.render(api=openapi, kinds=KINDS))


def _page(html: str) -> Page:
    """With a policy that allows its own style and script by their hashes (w3.org/TR/CSP3), and the API."""
    styles, scripts = _hashes(html, "style"), _hashes(html, "script")
    policy = (
        f"default-src 'none'; style-src {styles}; script-src {scripts};"
        " img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return Page(html, policy)


def _hashes(html: str, tag: str) -> str:
    """What the policy says of the elements of a kind, "'none'" where there are none."""
    texts = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
    digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts)
    return " ".join(f"'sha256-{digest}'" for digest in digests) or "'none'"
