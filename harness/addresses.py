"""Addresses (s3://…, gs://…, https://…) where a path is wanted, and what to do instead.

A run directory is locked, appended to, synced and renamed in, and images are opened again and again: disks,
NFS, Lustre and the like do that, and object stores do not. So runs and data lie on a file system, and
whoever keeps an object store copies to or from it.
"""

import argparse
import re
from pathlib import Path

# Two letters at least: C:/ is a drive. One slash is enough: pathlib has taken the other away.
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):(/{1,3})(.*)", re.DOTALL)
_COPIERS = {"s3": "aws s3 sync", "gs": "gcloud storage rsync -r", "hdfs": "hadoop distcp"}


def no_path(text: str) -> str:
    """Why an address is no path, and what to do instead; empty if `text` is none."""
    found = _ADDRESS.match(text)
    if not found:
        return ""
    scheme = found[1].lower()
    if scheme == "file":
        return f"{text[:200]!r} is an address; give the path alone: /{found[3].lstrip('/')[:200]}"
    said = f"{text[:200]!r} is an address, and no path of a file system"
    if scheme in ("http", "https", "ftp"):
        return f"{said}; download it, and give the path of what you have"
    copier = _COPIERS.get(scheme, "rclone sync")
    return (
        f"{said}: runs are locked and renamed in, images are opened again and again; give a folder of a disk "
        f"or of NFS, and copy with `{copier} FROM TO`, data before the sweep and the run after it"
    )


def local(text: str) -> Path:
    """The path that a word of a command line is; the `type` of its options.

    Raises:
        argparse.ArgumentTypeError: it is an address.
    """
    if said := no_path(text):
        raise argparse.ArgumentTypeError(said)
    return Path(text)
