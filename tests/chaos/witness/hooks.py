"""Patches modules the moment they are imported, and methods without getting into their way."""

import functools
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

from tests.chaos.witness.tape import Tapes

Patch = Callable[[Any], None]  # takes the module; Any, for what it does there no type checker can follow


class Patches(MetaPathFinder):
    """By name of module, what is to be done to it."""

    def __init__(self, tapes: Tapes) -> None:
        self.tapes = tapes
        self._patches: dict[str, list[Patch]] = {}

    def add(self, module: str, patch: Patch) -> None:
        """Call `patch` with the module when it has been executed, behind those that were added before."""
        self._patches.setdefault(module, []).append(patch)

    def of(self, module: str) -> list[Patch]:
        """What is to be done to a module, in order."""
        return self._patches.get(module, [])

    def listen(self) -> None:
        """From now on."""
        sys.meta_path.insert(0, self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """As the import system wants it: None leaves the module to others."""
        patches = self.of(fullname)
        spec = PathFinder.find_spec(fullname, path, target) if patches else None
        if spec is not None and spec.loader is not None:
            spec.loader = PatchingLoader(spec.loader, patches, self.tapes)
        return spec


class PatchingLoader(Loader):
    """Loads like another one, then patches."""

    def __init__(self, inner: Loader, patches: Sequence[Patch], tapes: Tapes) -> None:
        self._inner = inner
        self._patches = patches
        self._tapes = tapes

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """See Loader."""
        return self._inner.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """See Loader."""
        self._inner.exec_module(module)
        for patch in self._patches:
            try:
                patch(module)
            except Exception as error:  # what was to be patched is not there any more: the run is void
                self._tapes.failed(error)


class Watching:
    """Patches methods so that somebody sees their calls. What fails in there is noted, the service does not notice."""

    def __init__(self, tapes: Tapes) -> None:
        self._tapes = tapes

    def before(self, owner: Any, name: str, see: Callable[..., None]) -> None:
        """Call `see` with the arguments of a method (self included) before each of its calls."""
        original = getattr(owner, name)

        @functools.wraps(original)
        def method(*args: Any, **kwargs: Any) -> Any:
            self._quietly(see, args)
            return original(*args, **kwargs)

        setattr(owner, name, method)

    def after(self, owner: Any, name: str, see: Callable[..., None]) -> None:
        """Call `see` with the result and the arguments (self included) when a call has returned."""
        original = getattr(owner, name)

        @functools.wraps(original)
        def method(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            self._quietly(see, (result, *args))
            return result

        setattr(owner, name, method)

    def _quietly(self, see: Callable[..., None], args: tuple[Any, ...]) -> None:
        try:
            see(*args)
        except Exception as error:
            self._tapes.failed(error)
