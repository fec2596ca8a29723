"""AST (Rudolph et al., WACV 2023); see README.md beside this file."""

from methods.ast.method import AST

__all__ = ["AST"]
