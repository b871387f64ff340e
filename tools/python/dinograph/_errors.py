"""What calls of the library fail with: an exception for each status of dinograph.h, with the library's text."""


class Error(Exception):
    """Of all calls that fail."""


class UsageError(Error, ValueError):
    """Something that does not exist was asked for, or does not go together."""


class InputError(Error, ValueError):
    """A file's content, or an image, is wrong."""


class FileError(Error, OSError):
    """The operating system refused: no such file, for example."""


class OutOfMemoryError(Error, MemoryError):
    """The machine has less memory than the model needs."""


class UnsupportedError(Error, NotImplementedError):
    """Right, but this build or this CPU cannot do it."""


class NumericError(Error, ArithmeticError):
    """A number that is not finite."""


class InternalError(Error, RuntimeError):
    """A bug of Dinograph's."""


BY_STATUS = {
    1: UsageError,
    2: InputError,
    3: FileError,
    4: OutOfMemoryError,
    5: UnsupportedError,
    6: NumericError,
    7: InternalError,
}
