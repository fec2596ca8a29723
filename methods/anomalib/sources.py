"""What the installed anomalib says of its models, read off its source: planning imports no library."""

import ast
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from types import NoneType
from typing import Any, Union

from pydantic import BaseModel, ConfigDict, create_model

from methods.anomalib.catalogue import CATALOGUE

WORKS = ">=2.7,<2.8"  # as in pyproject.toml, which a test holds against it
MINOR = "2.7."
HARNESS = ("pre_processor", "post_processor", "evaluator", "visualizer")  # not for `init_args`
Signature = Mapping[str, tuple[Any, Any]]  # argument -> its type (Any where only anomalib knows it), default


def unusable() -> str | None:
    """Why the anomalib of this environment cannot be used, with what mends it; None if it can."""
    how = "python -m pip install 'ladder-bench[anomalib]'"
    try:
        found = version("anomalib")
    except PackageNotFoundError:
        return f"the package anomalib is not installed (Apache-2.0; {WORKS}); {how}"
    if not found.startswith(MINOR):
        return f"anomalib {found} is installed, and {WORKS} is what works here; {how}"
    return None


@lru_cache(maxsize=64)
def signature(model: str, function: str = "__init__") -> Signature:
    """What a function of a model takes; empty where it has none of its own.

    Raises:
        OSError, SyntaxError: anomalib is damaged.
    """
    found = next((f for f in _class(model).body if getattr(f, "name", "") == function), None)
    if not isinstance(found, ast.FunctionDef):
        return {}
    plain = found.args.args
    defaults = [None] * (len(plain) - len(found.args.defaults)) + list(found.args.defaults)
    pairs = [
        *zip(plain, defaults, strict=True),
        *zip(found.args.kwonlyargs, found.args.kw_defaults, strict=True),
    ]
    return {a.arg: (_type(a.annotation), _value(d)) for a, d in pairs if a.arg not in ("self", "cls")}


def model_of(model: str) -> type[BaseModel]:
    """Strict types of the arguments that `init_args` may have."""
    strict = ConfigDict(extra="forbid", arbitrary_types_allowed=True, protected_namespaces=())
    entries: dict[str, Any] = {k: v for k, v in signature(model).items() if k not in HARNESS}
    return create_model(model, __config__=strict, **entries)


def _class(model: str) -> ast.ClassDef:
    spec = find_spec("anomalib")
    assert spec is not None and spec.origin is not None  # `unusable` has been asked
    file = Path(spec.origin).parent / "models" / CATALOGUE[model].folder / "lightning_model.py"
    classes = (
        node for node in ast.parse(file.read_text(encoding="utf-8")).body if isinstance(node, ast.ClassDef)
    )
    return next(node for node in classes if node.name == model)


_PLAIN: Mapping[str, Any] = {
    "int": int, "float": float, "str": str, "bool": bool, "None": NoneType, "Path": str, "Sequence": list,
    "list": list, "tuple": tuple, "dict": dict,
}  # fmt: skip


def _type(node: ast.expr | None) -> Any:
    """A type of plain values; Any for what has a class of anomalib in it."""
    match node:
        case ast.Constant(value=None):
            return NoneType
        case ast.Name(id=name):
            return _PLAIN.get(name, Any)
        case ast.BinOp(left=left, right=right):
            pair = _type(left), _type(right)
            return Any if Any in pair else Union[pair]  # noqa: UP007 - of values
        case ast.Subscript(value=ast.Name(id=name), slice=inner) if name in ("list", "Sequence"):
            return list[_type(inner)]
        case ast.Subscript(value=ast.Name(id="tuple"), slice=ast.Tuple(elts=parts)):
            return tuple[tuple(_type(part) for part in parts)]
        case _:
            return Any


def _value(node: ast.expr | None) -> Any:
    """A default; None where it is no plain value."""
    try:
        return None if node is None else ast.literal_eval(node)
    except ValueError:
        return None
