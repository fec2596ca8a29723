"""What a page may do: run its own script, wear its style, show pictures it holds, and reach nothing else."""

import base64
import hashlib

from markupsafe import Markup


def policy(style: str, script: str = "", *, pictures: str = "data:") -> Markup:
    """A content security policy for a page, for its `meta` element.

    Styles and scripts are known by their hashes, so that text of a run that got into the page unescaped would
    still not run. Style attributes are allowed: they can load nothing. `'strict-dynamic'` lets the page's
    script read the files that lie beside it, also where there is no server (`'self'` matches no file).

    Args:
        style: the text of its one style element.
        script: of its one script element; "" for none.
        pictures: where images may come from.
    """
    rules = [
        "default-src 'none'",
        f"img-src {pictures}",
        f"style-src {_hash(style)}",
        "style-src-attr 'unsafe-inline'",
        f"script-src {_hash(script)} 'strict-dynamic'" if script else "script-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    return Markup("; ".join(rules))


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
    return f"'sha256-{digest}'"
