"""libdinograph by ctypes: what dinograph.h declares, as far as the package uses it.

The library is $DINOGRAPH_LIBRARY, else the one that a wheel has beside this file, else the system's.
"""

import ctypes
import os
import pathlib
from ctypes import POINTER, c_char_p, c_double, c_int, c_int64, c_size_t, c_void_p

from ._errors import BY_STATUS, InternalError

SONAME = "libdinograph.so.0"
MAX_DIMS = 8


class Options(ctypes.Structure):
    _fields_ = [("threads", c_int), ("ignore_memory", c_int), ("reserved", c_int * 6)]


class ModelOptions(ctypes.Structure):
    _fields_ = [("weights", c_char_p), ("from_", c_char_p), ("head", c_char_p), ("reserved", c_void_p * 5)]


class Tensor(ctypes.Structure):
    _fields_ = [
        ("name", c_char_p),
        ("type", c_int),
        ("ndim", c_int),
        ("dim", c_int64 * MAX_DIMS),
        ("bytes", c_size_t),
    ]


class SessionInfo(ctypes.Structure):
    _fields_ = [
        ("batch", c_int64),
        ("dim", c_int64),
        ("height", c_int),
        ("width", c_int),
        ("resize", c_int),
        ("patch_size", c_int),
        ("patch_rows", c_int),
        ("patch_cols", c_int),
        ("first_patch", c_int),
        ("classes", c_int),
        ("mean", c_double * 3),
        ("std", c_double * 3),
        ("reserved", c_int64 * 16),
    ]


_PLAIN = {  # name: what it returns, and its arguments
    "dinograph_error": (c_char_p, []),
    "dinograph_version": (c_char_p, []),
    "dinograph_model_close": (None, [c_void_p]),
    "dinograph_model_entries": (c_int, [c_void_p]),
    "dinograph_model_entry": (c_char_p, [c_void_p, c_int]),
    "dinograph_session_close": (None, [c_void_p]),
    "dinograph_session_threads": (c_int, [c_void_p]),
    "dinograph_outputs": (c_int, [c_void_p]),
    "dinograph_class": (c_char_p, [c_void_p, c_int]),
    "dinograph_output_data": (c_void_p, [c_void_p, c_char_p]),
}
_STATUS = {  # name: arguments; what it returns is a status, which becomes an exception
    "dinograph_model_open": [c_char_p, POINTER(ModelOptions), POINTER(c_void_p)],
    "dinograph_model_session": [c_void_p, c_char_p, POINTER(Options), POINTER(c_void_p)],
    "dinograph_session_info": [c_void_p, POINTER(SessionInfo)],
    "dinograph_output": [c_void_p, c_int, POINTER(Tensor)],
    "dinograph_set_rows": [c_void_p, c_int64],
    "dinograph_set_image": [c_void_p, c_int64, c_void_p, c_int, c_int],
    "dinograph_set_image_file": [c_void_p, c_int64, c_char_p],
    "dinograph_set_image_memory": [c_void_p, c_int64, c_char_p, c_size_t],
    "dinograph_run": [c_void_p],
}


def _load():
    named = os.environ.get("DINOGRAPH_LIBRARY")
    beside = pathlib.Path(__file__).resolve().parent / SONAME
    path = named or (str(beside) if beside.exists() else SONAME)
    try:
        return ctypes.CDLL(path)
    except OSError as why:
        raise ImportError(
            f"cannot load {path}: {why}. Install libdinograph0 (or cmake --install, and LD_LIBRARY_PATH), or name the "
            "library with DINOGRAPH_LIBRARY; a wheel with the library inside needs the libraries that it was built "
            "with, oneDNN (libdnnl) first"
        ) from None


def _check(status, function, arguments):
    if status:
        text = lib.dinograph_error().decode(errors="replace")
        raise BY_STATUS.get(status, InternalError)(text)
    return status


lib = _load()
try:
    for _name, (_returns, _arguments) in _PLAIN.items():
        _function = getattr(lib, _name)
        _function.restype, _function.argtypes = _returns, _arguments
    for _name, _arguments in _STATUS.items():
        _function = getattr(lib, _name)
        _function.restype, _function.argtypes, _function.errcheck = c_int, _arguments, _check
except AttributeError as _why:
    raise ImportError(f"this libdinograph is older than the package: {_why}") from None


def version():
    """The library's version: "0.2.0"."""
    return lib.dinograph_version().decode()
