"""What is loaded when somebody asks for it: a role lives for months, and holds what it loaded for as long."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, Generic, TypeVar, cast

Kind = TypeVar("Kind")


def later(package: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """A package's `__getattr__`: names come out of its modules, each of which is loaded at its first use.

    `modules` says of each module what names it gives, with spaces in between. What has the name of a module
    cannot come later: once that is loaded, its name means the module.
    """
    homes = {name: module for module, names in modules.items() for name in names.split()}

    def given(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{homes[name]}"), name)

    return given


class Kinds(Mapping[str, Kind], Generic[Kind]):
    """A package's modules by the words they go by, each loaded when it is asked for."""

    def __init__(self, package: str, modules: Mapping[str, str]) -> None:
        self._package = package
        self._modules = modules

    def __getitem__(self, word: str) -> Kind:
        return cast(Kind, import_module(f"{self._package}.{self._modules[word]}"))

    def __contains__(self, word: object) -> bool:
        return word in self._modules

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __len__(self) -> int:
        return len(self._modules)


def in_folder(path: Iterable[str], *, beside: str) -> dict[str, str]:
    """The modules of a folder, by their own names in alphabetical order; without the one that they share,
    and without folders in it."""
    names = sorted(info.name for info in iter_modules(path) if not info.ispkg)
    return {name: name for name in names if name != beside}
