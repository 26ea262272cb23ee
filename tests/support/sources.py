"""The project's own source files as syntax trees, for the tests that enforce the rules of the house."""

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.requirements import ROOT

PRODUCT = ("lmtpd", "storage", "scripts")
EVERYTHING = (*PRODUCT, "tests", "dev")


@dataclass(frozen=True, slots=True)
class Import:
    """One imported module, and where."""

    name: str
    line: int
    inside_function: bool


class Source:
    """One Python file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = str(path.relative_to(ROOT))
        self.text = path.read_text()
        self.tree = ast.parse(self.text)

    @property
    def module(self) -> str:
        """The dotted name it is imported by."""
        return self.name.removesuffix(".py").replace("/", ".").removesuffix(".__init__")

    def imports(self) -> Iterator[Import]:
        """Every import, wherever it stands; relative ones in full."""
        return self._imports_below(self.tree, inside_function=False)

    def _imports_below(self, node: ast.AST, *, inside_function: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield Import(alias.name, child.lineno, inside_function)
            elif isinstance(child, ast.ImportFrom):
                origin = self._origin(child)
                for name in {_module_of(origin, alias.name) for alias in child.names}:
                    yield Import(name, child.lineno, inside_function)
            else:
                function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                yield from self._imports_below(child, inside_function=inside_function or function)

    def _origin(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        package = self.module.split(".")
        if self.path.name != "__init__.py":
            package = package[:-1]
        package = package[: len(package) - node.level + 1]
        return ".".join([*package, *([node.module] if node.module else [])])


@functools.cache
def sources(*folders: str) -> tuple[Source, ...]:
    """Return the Python files below those folders of the project."""
    paths = (path for folder in folders for path in sorted((ROOT / folder).rglob("*.py")))
    return tuple(Source(path) for path in paths)


def _module_of(origin: str, name: str) -> str:
    """Tell which module "from origin import name" reads: a submodule of ours, or the origin itself."""
    path = ROOT.joinpath(*origin.split("."), name)
    return f"{origin}.{name}" if path.is_dir() or path.with_suffix(".py").exists() else origin


def is_within(module: str, package: str) -> bool:
    """Tell whether a module is the package or lies in it."""
    return module == package or module.startswith(package + ".")
