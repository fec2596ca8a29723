"""A content-addressed store of arrays: one computation per key across all processes of a node.

    <root>/packed/<op>/<machine>-<12 hex>.data    arrays, one after another
    <root>/packed/<op>/<machine>-<12 hex>.index   64 bytes per array: key, place, checksum
    <root>/packed/<op>/claims/<12 hex>.keys       keys that are being computed

Arrays of any size lie in packs of up to 64 MiB that only ever grow. Why not a file per array: that costs a
name, a lock and an inode each, and, mapped, a descriptor and a map each. Why not a database: one flipped
byte in a tree can end a process (LMDB), journals and rollback need a file system that can lock (SQLite),
and neither can be shared by two machines. A pack can be cut, zeroed, flipped or deleted anywhere, and what
is lost is what was hit.

Nothing is believed because it is there. The checksum of an array covers its bytes, type and shape, and is
looked at where the array is read: for small ones every time, for mapped ones once per process. What does
not hold is struck out and computed again. That is also why nothing here is synced to disk: whatever a power
loss leaves of a pack, a wrong byte is a wrong checksum. There is no renaming that could overtake the bytes.

Files `<root>/<op>/<two hex>/<sha256>.npy` of older versions carry no checksum and are not read; the limit
counts them, and since nobody uses them they go first.
"""

from harness.artifacts.op import Op
from harness.artifacts.record import Array
from harness.artifacts.store import GIB, ArtifactStore, no_store

__all__ = ["GIB", "Array", "ArtifactStore", "Op", "no_store"]
