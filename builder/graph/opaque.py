"""Modules that are kept whole."""

from __future__ import annotations

import torch.nn as nn


class Opaque(nn.Module):
    """A module the tracer never looks into, for what depends on the data (non-maximum suppression, say).

    Tensors (or lists of them) in, one tensor or a tuple of tensors out. It is exported with ``torch.jit.script``, so
    its ``forward`` must be scriptable; it belongs to the trunk and keeps the channels of everything that enters it.
    """
