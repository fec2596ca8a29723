"""Reading the tables of tensors inside pickles without running what else is written there.

A pickle names the functions that rebuild its objects, so loading somebody's file can run anything. Here
only a list of harmless names is looked up; every other one becomes `Inert`, which takes whatever it is
given and does nothing. So a table is found beside an `argparse.Namespace`, a NumPy number or a scheduler,
and even inside a module that was pickled whole, whose code need not be installed. The module has the two
names that `torch.load(pickle_module=…)` asks for, `Unpickler` and `load`.
"""

import pickle
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Self

# What rebuilds a tensor; real ones are looked up in torch only when somebody wants the values.
REBUILDERS = ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_parameter", "_rebuild_parameter_with_state")
HARMLESS: Mapping[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch", "Size"): tuple,
    ("builtins", "set"): set,
    ("__builtin__", "set"): set,
}


class Inert:
    """Stands for any object that is neither a container nor a tensor."""

    state: Any
    dump_patches = False  # torch asks it of a module whose source it cannot compare

    def __new__(cls, *arguments: object, **named: object) -> Self:
        del arguments, named
        made = super().__new__(cls)
        made.state = None
        return made

    def __call__(self, *arguments: object, **named: object) -> "Inert":
        return Inert(*arguments, **named)

    def __setstate__(self, state: object) -> None:
        self.state = state

    def __setitem__(self, key: object, value: object) -> None:
        pass

    def extend(self, values: object) -> None:
        """Nothing is kept of lists that are something else as well."""

    append = add = update = extend


class Unpickler(pickle.Unpickler):
    """Builds tensors with torch, containers, and `Inert` for the rest."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        """What a name in a pickle stands for."""
        if module_name == "torch._utils" and global_name in REBUILDERS:
            return self.rebuilder(global_name)
        return HARMLESS.get((module_name, global_name), Inert)

    def rebuilder(self, name: str) -> Callable[..., Any]:
        """Torch's function of that name."""
        from torch import _utils

        return getattr(_utils, name)


def load(file: Any, **options: Any) -> Any:
    """The next object of a file."""
    return Unpickler(file, **options).load()


class Shape(tuple[int, ...]):
    """Of a tensor whose values nobody has read."""


class ShapeUnpickler(Unpickler):
    """Builds `Shape` in place of tensors; needs no torch and reads no values."""

    def persistent_load(self, pid: Any, /) -> Any:
        """A storage, of no interest; or, in files of torch < 1.6, the class of a module."""
        return pid[1] if isinstance(pid, tuple) and pid[:1] == ("module",) else Inert()

    def rebuilder(self, name: str) -> Callable[..., Any]:
        """A function that keeps the sizes (third argument) of a tensor, or a parameter's tensor."""
        return _sizes if "tensor" in name else lambda data, *rest: data


def _sizes(storage: object, offset: int, sizes: tuple[int, ...], *rest: object) -> Shape:
    del storage, offset, rest
    return Shape(sizes)
