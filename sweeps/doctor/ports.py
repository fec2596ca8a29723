"""Ray on this machine: its token, and who listens where."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from sweeps.doctor.finding import Finding, amber, green, red

LISTENING = "0A"  # the state in /proc/net/tcp
EVERYWHERE = {"00000000", "0" * 32}  # 0.0.0.0 and ::
HEAD_PORT = 6379  # of a cluster's control store, unless it is started with another; Redis has it as well
RAY = ("gcs_server", "raylet", "ray::", "dashboard")


def ray_here() -> Iterator[Finding]:
    """Token file, token mode, and the processes of Ray that listen."""
    yield _token()
    listeners = sorted({(name, port, open_) for name, port, open_ in _listeners()})
    if _port_taken() and HEAD_PORT not in {port for _, port, _ in listeners}:
        said = f"port {HEAD_PORT} is taken, by no Ray of yours: a head cannot be started on it"
        yield amber("ray", "port", said, f"ray start --head --port {HEAD_PORT + 10}, and that in --address")
    if not listeners:
        yield green("ray", "processes", "no Ray of yours runs here", listening=[])
        return
    said = ", ".join(
        f"{name} {port}{'' if open_ else ' (this machine only)'}" for name, port, open_ in listeners
    )
    if any(open_ for *_, open_ in listeners) and os.environ.get("RAY_AUTH_MODE") == "disabled":
        mend = "unset RAY_AUTH_MODE, stop that cluster and start it again: it then wants the token"
        yield red("ray", "processes", f"open to the network without a token: {said}", mend)
    else:
        mend = (
            "whoever has the token and reaches these ports can run code as you: keep them inside the cluster"
        )
        yield amber("ray", "processes", f"a Ray of yours listens: {said}", mend)


def _token() -> Finding:
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token").expanduser()
    if os.environ.get("RAY_AUTH_TOKEN"):
        return green("ray", "token", "a token in RAY_AUTH_TOKEN")
    if not path.exists() and os.environ.get("RAY_AUTH_TOKEN_PATH"):
        mend = "copy the head's token there (mode 600), or correct RAY_AUTH_TOKEN_PATH"
        return red("ray", "token", f"RAY_AUTH_TOKEN_PATH: there is no file {path}", mend)
    if not path.exists() and os.environ.get("RAY_AUTH_MODE") == "token":
        mend = f"on the head: ray get-auth-token --generate; elsewhere: copy the head's to {path} (mode 600)"
        return amber("ray", "token", f"RAY_AUTH_MODE=token and no token yet ({path})", mend)
    if not path.exists():
        return green(
            "ray", "token", f"no token yet ({path}): Ray makes one, clusters need the same everywhere"
        )
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        return red("ray", "token", f"{path} can be read by others (mode {mode:o})", f"chmod 600 {path}")
    if not os.access(path, os.R_OK) or not path.read_text().strip():
        return red("ray", "token", f"{path} is empty or not readable", "ray get-auth-token --generate")
    return green("ray", "token", f"{path}, readable by you alone")


def _listeners() -> Iterator[tuple[str, int, bool]]:
    """(process, port, whether other machines reach it) of Ray's processes of this user."""
    sockets = {inode: (port, everywhere) for inode, port, everywhere in _sockets()}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            name = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            kind = next((word for word in RAY if word in name), None)
            if kind is None or process.stat().st_uid != os.getuid():
                continue
            for handle in (process / "fd").iterdir():
                link = str(handle.readlink())
                if link.startswith("socket:[") and (found := sockets.get(link[8:-1])):
                    yield kind.strip(":"), *found
        except OSError:  # ended meanwhile, or of another user
            continue


def _port_taken() -> bool:
    return any(port == HEAD_PORT for _, port, _ in _sockets())


def _sockets() -> Iterator[tuple[str, int, bool]]:
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            address, _, port = fields[1].partition(":")
            if fields[3] == LISTENING:
                yield fields[9], int(port, 16), address in EVERYWHERE
