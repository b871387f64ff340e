"""Features, attention and classes of images by DINO vision models, on CPUs: Python's side of libdinograph.

    import dinograph

    with dinograph.Model("run") as model:            # the folder of dinorun train --out, or a bundle of dinorun bundle
        features = model.features(["cat.jpg", "hen.png"])        # float32 [2, dim]

See dinograph.Model. Numbers are those of `dinorun features`.
"""

from ._errors import (
    Error,
    FileError,
    InputError,
    InternalError,
    NumericError,
    OutOfMemoryError,
    UnsupportedError,
    UsageError,
)
from ._library import version
from ._model import Info, Model, Prediction

__all__ = [
    "Error",
    "FileError",
    "Info",
    "InputError",
    "InternalError",
    "Model",
    "NumericError",
    "OutOfMemoryError",
    "Prediction",
    "UnsupportedError",
    "UsageError",
    "version",
]
__version__ = version()
