"""What the operating system gives: cores, memory, files, disks."""

import os
import resource
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from harness.cache import cache_root
from sweeps.doctor.finding import Finding, amber, green, red

GIB = 1 << 30
FEW_FILES = 256  # Ray's own processes and a worker's libraries hold about a hundred and fifty
LITTLE_MEMORY = 4.0  # GiB per core; torch, open_clip and a category of features take two to three
LITTLE_SHARED = 1.0  # GiB; containers come with 64 MiB unless told otherwise
LITTLE_SPACE, NO_SPACE = 20.0, 1.0  # GiB
PROBE_BYTES = 64 << 20
SLOW = 50.0  # MiB/s: a network home under load; features would be read slower than they are computed


def machine() -> Iterator[Finding]:
    """Cores, memory, shared memory, open files."""
    cores, usable = os.cpu_count() or 1, len(os.sched_getaffinity(0))
    if usable < cores:
        said = f"{usable} of {cores} cores may be used by this process"
        mend = "ask the scheduler for more, or set cpus: in the sweep file accordingly"
        yield amber("machine", "cores", said, mend, cores=usable)
    else:
        yield green("machine", "cores", f"{cores} cores", cores=cores)
    yield _memory(usable)
    yield _shared()
    yield _files()


def _memory(cores: int) -> Finding:
    total = min(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), _cgroup_limit()) / GIB
    said = f"{total:.1f} GiB of memory, {total / cores:.1f} per core"
    if total / cores < LITTLE_MEMORY:
        mend = "set cpus: 2 or more per trial, so that fewer run at a time"
        return amber("machine", "memory", said, mend, gib=round(total, 1))
    return green("machine", "memory", said, gib=round(total, 1))


def _cgroup_limit() -> float:
    """What a container or a Slurm job may take; infinite where nothing says."""
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            text = Path(name).read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            return float(text)
    return float("inf")


def _shared() -> Finding:
    try:
        gib = shutil.disk_usage("/dev/shm").total / GIB
    except OSError:
        return amber(
            "machine", "shared memory", "there is no /dev/shm", "Ray then uses files in /tmp: slower"
        )
    if gib < LITTLE_SHARED:
        mend = "start the container with --shm-size=4g (Docker), or --bind /dev/shm (Apptainer)"
        return amber("machine", "shared memory", f"/dev/shm holds {gib:.2f} GiB", mend, gib=round(gib, 2))
    return green("machine", "shared memory", f"/dev/shm holds {gib:.1f} GiB", gib=round(gib, 1))


def _files() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < FEW_FILES:
        mend = f"ulimit -n {min(hard, 4096) if hard > 0 else 4096}"
        if 0 < hard < FEW_FILES:
            mend = "have the limit raised: nofile in /etc/security/limits.conf, LimitNOFILE= of a service"
        return red("machine", "open files", f"a process may open {soft} files", mend, limit=soft)
    return green("machine", "open files", f"a process may open {soft} files", limit=soft)


def disks(run: Path | None, cache: Path | None = None) -> Iterator[Finding]:
    """Space, rights and speed of the folders that are written to."""
    yield from _disk("cache folder", cache or cache_root(), "set LADDER_CACHE, or cache: {folder: …}")
    yield from _disk("run folder", run or Path("runs"), "choose another folder with out:")


def _disk(name: str, folder: Path, other: str) -> Iterator[Finding]:
    at = _nearest_existing(folder)
    if not at.is_dir():
        said = f"{folder} is a file" if at == folder else f"{folder}: {at} is a file"
        yield red("disk", name, said, other)
        return
    free = shutil.disk_usage(at).free / GIB
    inodes = os.statvfs(at)
    if inodes.f_flag & os.ST_RDONLY:
        yield red("disk", name, f"{folder}: that disk is mounted read-only", f"mount it anew, or {other}")
    elif not os.access(at, os.W_OK | os.X_OK):
        yield red("disk", name, f"{folder}: {at} cannot be written by this user", other)
    elif free < NO_SPACE:
        yield red("disk", name, f"{folder}: {free:.2f} GiB are free", f"make room, or {other}")
    elif inodes.f_files and not inodes.f_favail:
        yield red(
            "disk", name, f"{folder}: no more files can be made there (inodes)", f"make room, or {other}"
        )
    else:
        yield _speed(name, folder, at, free, other)


def _nearest_existing(folder: Path) -> Path:
    folder = folder.expanduser().absolute()
    return next((p for p in (folder, *folder.parents) if os.path.lexists(p)), Path("/"))


def _speed(name: str, folder: Path, at: Path, free: float, other: str) -> Finding:
    probe, block = at / f".ladder-doctor-{os.getpid()}", os.urandom(1 << 20)
    try:
        began = time.perf_counter()
        with open(probe, "wb") as file:
            for _ in range(PROBE_BYTES >> 20):
                file.write(block)
            file.flush()
            os.fsync(file.fileno())  # into the disk, not into memory
        rate = (PROBE_BYTES >> 20) / (time.perf_counter() - began)
    except OSError as error:
        return red("disk", name, f"{folder}: 64 MiB cannot be written ({error.strerror})", other)
    finally:
        probe.unlink(missing_ok=True)
    said, facts = f"{folder}: {free:.0f} GiB free, {rate:.0f} MiB/s written", {"free_gib": round(free, 1)}
    if free < LITTLE_SPACE:
        return amber("disk", name, said, f"a category of features can take 3 GiB; {other}", **facts)
    if rate < SLOW:
        return amber("disk", name, said, f"slow; a local disk would do better: {other}", **facts)
    return green("disk", name, said, **facts)
