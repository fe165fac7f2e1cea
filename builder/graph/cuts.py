"""A user's constraints on single modules: which are kept whole, which are kept dense, where blocks must end."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

import torch.nn as nn

from legodnn.shared.errors import ModelError
from legodnn.shared.naming import hint


@dataclass(frozen=True)
class Cuts:
    """Modules by their full names, each with all that is in it.

    ``whole`` ones are not traced and not changed; layers of ``dense`` ones lose no channels; a block lies inside or
    outside of a ``boundaries`` one, never across its edge.
    """

    whole: tuple[str, ...] = ()
    dense: tuple[str, ...] = ()
    boundaries: tuple[str, ...] = ()

    def check(self, model: nn.Module) -> None:
        """Raise `ModelError` for a name that is none of the model's modules, with the one that was probably meant."""
        known = [name for name in _plain_names(model) if name]
        for field in fields(self):
            for name in getattr(self, field.name):
                if name not in known:
                    raise ModelError(f"{field.name}: the network has no module '{name}'{hint(name, known)}")


NO_CUTS = Cuts()


def _plain_names(model: nn.Module) -> list[str]:
    """The names of all modules without those of torch's wrappers (data parallel, compiled)."""
    wrapped = isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel)
    names = [name.split(".")[1 if wrapped else 0 :] for name, _ in model.named_modules()]
    return [".".join(part for part in name if part != "_orig_mod") for name in names]


def within(name: str, modules: Iterable[str]) -> list[str]:
    """The names among ``modules`` of the module or layer called ``name`` and of those that contain it."""
    return [module for module in modules if name == module or name.startswith(f"{module}.")]
