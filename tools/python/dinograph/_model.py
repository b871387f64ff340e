"""Models: what dinorun has trained, or a plan with weights, evaluated on images."""

import contextlib
import ctypes
import os
import threading
from typing import List, NamedTuple, Optional, Tuple, Union

import numpy as np

from ._errors import Error, UsageError
from ._library import ModelOptions, Options, SessionInfo, Tensor, lib

_BYTES = (bytes, bytearray, memoryview)


class Info(NamedTuple):
    """What an entry is, beside the shapes of its results; zero where there is nothing of the kind."""

    batch: int  #: images that are computed together at most
    dim: int  #: numbers of an image's features, or of each of its tokens
    height: int  #: pixels of an image as the network sees it
    width: int
    resize: int  #: pixels of the side that is resized to before the crop
    patch_size: int  #: pixels of a patch's side
    patch_rows: int
    patch_cols: int
    first_patch: int  #: tokens before those of the patches: class token, registers
    classes: int
    mean: Tuple[float, float, float]  #: of red, green and blue, for pixels from 0 to 1
    std: Tuple[float, float, float]


class Prediction(NamedTuple):
    """What a classifier says of n images."""

    classes: List[Union[str, int]]  #: the best class of each; its number where names are not known
    probabilities: np.ndarray  #: float32 [n, classes]
    logits: np.ndarray  #: float32 [n, classes]


class _Session:
    """An entry that is open. One call at a time uses it: what takes a handle is called within `with self.use()`."""

    def __init__(self, model, entry, options):
        self._lock = threading.Lock()
        self._handle = ctypes.c_void_p()
        lib.dinograph_model_session(model, entry.encode(), ctypes.byref(options), ctypes.byref(self._handle))
        self._rows = 0
        self.threads = lib.dinograph_session_threads(self._handle)
        self.info = self._find_info()
        names = [lib.dinograph_class(self._handle, index) for index in range(self.info.classes)]
        self.names = None if None in names else [os.fsdecode(name) for name in names]

    @contextlib.contextmanager
    def use(self):
        with self._lock:
            if self._handle is None:
                raise UsageError("the model is closed")
            yield self._handle

    def close(self):
        with self._lock:
            lib.dinograph_session_close(self._handle)
            self._handle = None

    def run(self, images, outputs, batch):
        """The outputs of all images, each [n, ...]. As dinorun does, all batches compute as many rows as the first."""
        rows = min(batch, len(images))
        with self.use() as handle:
            shapes = _shapes(handle)
            results = [np.empty((len(images),) + shapes[name], np.float32) for name in outputs]
            if rows and rows != self._rows:
                lib.dinograph_set_rows(handle, rows)
                self._rows = rows
            for first in range(0, len(images), max(rows, 1)):
                part = images[first : first + rows]
                for row, image in enumerate(part):
                    _set_image(handle, row, image, first + row)
                lib.dinograph_run(handle)
                for name, result in zip(outputs, results):
                    data = lib.dinograph_output_data(handle, name.encode())
                    ctypes.memmove(result[first:].ctypes.data, data, result[first : first + len(part)].nbytes)
        return results

    def _find_info(self):
        raw = SessionInfo()
        lib.dinograph_session_info(self._handle, ctypes.byref(raw))
        plain = (getattr(raw, name) for name in Info._fields[:-2])
        return Info(*plain, mean=tuple(raw.mean), std=tuple(raw.std))


def _shapes(handle):
    """Of one image's results, by the names of the outputs."""
    shapes, tensor = {}, Tensor()
    for index in range(lib.dinograph_outputs(handle)):
        lib.dinograph_output(handle, index, ctypes.byref(tensor))
        shapes[tensor.name.decode()] = tuple(tensor.dim[1 : tensor.ndim])
    return shapes


def _set_image(handle, row, image, index):
    """Puts an image into a row; `index` is its place among all, for messages."""
    if isinstance(image, (str, os.PathLike)):
        lib.dinograph_set_image_file(handle, row, os.fsencode(image))  # errors have the path
        return
    try:
        if isinstance(image, _BYTES):
            image = bytes(image)
            lib.dinograph_set_image_memory(handle, row, image, len(image))
        elif isinstance(image, np.ndarray):
            pixels = _pixels(image)
            lib.dinograph_set_image(handle, row, pixels.ctypes.data, pixels.shape[1], pixels.shape[0])
        else:
            raise TypeError(f"{type(image).__name__} is no path, no encoded bytes and no array")
    except (Error, TypeError) as why:
        raise type(why)(f"image {index}: {why}") from None


def _pixels(image):
    """An array as the library takes it: uint8 [height, width, 3], without gaps."""
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
        raise TypeError(
            f"an array of {image.dtype} {list(image.shape)}; an image is uint8 [height, width, 3], RGB, or [height, width]"
        )
    if image.ndim == 2:
        image = np.repeat(image[:, :, None], 3, axis=2)
    return np.ascontiguousarray(image)


def _list_of(images):
    """One image, several, or an array [n, height, width, 3], as a list."""
    if isinstance(images, (str, os.PathLike) + _BYTES):
        return [images]
    if isinstance(images, np.ndarray) and images.ndim <= 3 and images.dtype != object:
        return [images]
    return list(images)


class Model:
    """A network with its weights.

    path     the folder of `dinorun train --out`, or a bundle of `dinorun bundle`
    plan     in its place: a plan of `dinoc`, with `weights`
    weights  a checkpoint, or a backbone in a file of safetensors or torch.save; of a run, another than the newest
    student  take the student's backbone of a checkpoint, and not the teacher's
    head     a classifier that `dinorun linear` has trained: "run/linear/best.safetensors". A bundle may have one inside
    threads  to compute with; 0: OMP_NUM_THREADS, or as many as there are CPUs

    Images are paths, encoded bytes (a JPEG from a socket, for example) or arrays uint8 [height, width, 3], RGB: one, or a
    list of any of them, or an array [n, height, width, 3]. They are resized, cropped and normalised as in the training.
    `batch` is how many are computed together, at most as many as the plan has room for (Info.batch, the default).

    Methods may be called by several threads. A model is closed by close(), or at the end of a `with` block.
    """

    def __init__(
        self,
        path=None,
        *,
        plan=None,
        weights=None,
        student=False,
        head=None,
        threads=0,
        ignore_memory=False,
    ):
        self._handle = None
        if (path is None) == (plan is None):
            raise UsageError("a model is of a path (a run's folder or a bundle) or of a plan: one of both")
        if plan is not None and weights is None:
            raise UsageError("plan=... takes weights=..., a file of them")
        options = ModelOptions(
            weights=None if weights is None else os.fsencode(weights),
            from_=b"student" if student else None,
            head=None if head is None else os.fsencode(head),
        )
        handle = ctypes.c_void_p()
        where = os.fsencode(plan if path is None else path)
        lib.dinograph_model_open(where, ctypes.byref(options), ctypes.byref(handle))
        self._handle = handle
        self._options = Options(threads=threads, ignore_memory=ignore_memory)
        self._sessions = {}
        self._lock = threading.Lock()

    @property
    def entries(self):
        """What it can give: "features", "attention", "tokens", and "classifier" where there is one."""
        with self._lock:
            return self._find_entries()

    def _find_entries(self):
        self._check_open()
        count = lib.dinograph_model_entries(self._handle)
        return tuple(lib.dinograph_model_entry(self._handle, index).decode() for index in range(count))

    def info(self, entry="features"):
        """Sizes, patches, mean and deviation: an Info."""
        return self._session(entry).info

    @property
    def threads(self):
        """How many the features are computed with."""
        return self._session("features").threads

    @property
    def classes(self) -> Optional[List[str]]:
        """The names of the classifier's classes, in the order of its outputs; None where they are not known."""
        return self._session("classifier").names

    def features(self, images, batch=None):
        """float32 [n, dim]: the numbers of `dinorun features`."""
        return self._run("features", ["features"], images, batch)[0]

    def tokens(self, images, batch=None):
        """float32 [n, 1 + patches, dim]: the last block's normalised tokens, the class token (and registers) first."""
        return self._run("tokens", ["tokens"], images, batch)[0]

    def attention(self, images, batch=None):
        """float32 [n, heads, 1 + patches, 1 + patches]: the last block's. [:, :, 0, Info.first_patch:] is what the class
        token looks at, patch by patch."""
        return self._run("attention", ["attention"], images, batch)[0]

    def predict(self, images, batch=None):
        """The classifier's answer: a Prediction."""
        logits, probabilities = self._run("classifier", ["logits", "probabilities"], images, batch)
        names = self.classes
        best = [int(index) for index in probabilities.argmax(axis=1)]
        return Prediction([names[index] for index in best] if names else best, probabilities, logits)

    def close(self):
        """Frees its memory; the model cannot be used afterwards. A call of another thread's ends first."""
        with self._lock:
            for session in self._sessions.values():
                session.close()
            self._sessions.clear()
            if self._handle is not None:
                lib.dinograph_model_close(self._handle)
            self._handle = None

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def __del__(self):
        if getattr(self, "_handle", None) is not None:
            self.close()

    def _check_open(self):
        if self._handle is None:
            raise UsageError("the model is closed")

    def _session(self, entry):
        with self._lock:
            self._check_open()
            if entry not in self._sessions:
                self._sessions[entry] = _Session(self._handle, entry, self._options)
            return self._sessions[entry]

    def _run(self, entry, outputs, images, batch):
        session = self._session(entry)
        room = session.info.batch
        if batch is not None and not 1 <= batch <= room:
            raise UsageError(f"batch={batch}: the plan has room for 1 to {room} images (dinoc --batch makes another)")
        return session.run(_list_of(images), outputs, batch or room)
