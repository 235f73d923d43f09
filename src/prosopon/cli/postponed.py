"""A library that is loaded when it is used first, not when it is imported."""

import sys
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any


class _Postponed(ModuleType):
    """Stands for a library; whatever is asked of it, its submodules too, loads it."""

    def __getattr__(self, name: str) -> Any:
        spec = self.__spec__
        assert spec is not None  # both are module_from_spec's
        assert spec.loader is not None
        self.__class__ = ModuleType  # type: ignore[assignment]
        vars(self)["__path__"] = spec.submodule_search_locations
        spec.loader.exec_module(self)
        return getattr(self, name)


def postpone(name: str) -> None:
    """Let ``import name`` cost nothing until something of the library is used.

    A command that refuses a word then never waits seconds for a library that it does not need.
    Modules that are imported before that take nothing ``from`` the library.
    """
    spec = None if name in sys.modules else find_spec(name)
    if spec is not None and spec.loader is not None:
        module = module_from_spec(spec)
        vars(module).pop("__path__", None)  # or a submodule would be imported without it
        module.__class__ = _Postponed
        sys.modules[name] = module
