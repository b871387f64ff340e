#include "runtime/formats/file_kind.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define PACKED "; unpack it, and give the file that is inside"
#define IN_PYTHON "; load it in Python, and save its tensors with torch.save or safetensors"

struct magic {
    size_t at;
    const char *bytes;
    size_t size;
    const char *what;
};
#define MAGIC(at, bytes, what)                                                                                         \
    {                                                                                                                  \
        at, bytes, sizeof(bytes) - 1, what                                                                             \
    }

static const struct magic magics[] = {
    MAGIC(0, "version https://git-lfs", "a Git LFS pointer, not the file itself; get it with git lfs pull"),
    MAGIC(0, "\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras and TensorFlow write (.h5)" IN_PYTHON),
    MAGIC(0, "\x93NUMPY", "a NumPy array (.npy), one tensor without a name" IN_PYTHON),
    MAGIC(0, "GGUF", "a GGUF file of llama.cpp; take the file that it was made from"),
    MAGIC(4, "TFL3", "a TensorFlow Lite model; take the file that it was made from"),
    MAGIC(0, "\x08\x01\x12", "a TensorFlow SavedModel" IN_PYTHON),
    MAGIC(257, "ustar", "a tar archive" PACKED),
    MAGIC(0, "\x1f\x8b", "compressed by gzip" PACKED),
    MAGIC(0, "BZh", "compressed by bzip2" PACKED),
    MAGIC(0,
          "\xfd"
          "7zXZ",
          "compressed by xz" PACKED),
    MAGIC(0, "\x28\xb5\x2f\xfd", "compressed by zstd" PACKED),
    MAGIC(0, "7z\xbc\xaf", "a 7z archive" PACKED),
    MAGIC(0, "Rar!", "a RAR archive" PACKED),
    MAGIC(0, "\x89PNG", "an image (PNG)"),
    MAGIC(0, "\xff\xd8\xff", "an image (JPEG)"),
    MAGIC(0, "%PDF", "a PDF document"),
    MAGIC(0,
          "\x7f"
          "ELF",
          "a program"),
    MAGIC(0, "DINOPLAN", "a plan of dinoc; weights are another file"),
};

/* Skips white space and a byte order mark. */
static size_t first_letter(const unsigned char *bytes, size_t size)
{
    size_t at = size >= 3 && !memcmp(bytes, "\xef\xbb\xbf", 3) ? 3 : 0;
    while (at < size && (bytes[at] == ' ' || (bytes[at] >= '\t' && bytes[at] <= '\r'))) at++;
    return at;
}

static bool begins(const unsigned char *bytes, size_t size, const char *word)
{
    for (; *word; word++, bytes++, size--) {
        unsigned char c = size ? *bytes : 0;
        if (c >= 'A' && c <= 'Z') c = (unsigned char)(c - 'A' + 'a');
        if (c != (unsigned char)*word) return false;
    }
    return true;
}

/* A field of a protobuf message, ONNX's ModelProto: its version, then one of the fields that follow. */
static bool is_onnx(const unsigned char *bytes, size_t size)
{
    return size > 8 && bytes[0] == 0x08 && bytes[1] > 1 && bytes[1] < 32 && bytes[2] >= 0x12 && bytes[2] <= 0x42 &&
           (bytes[2] & 7) == 2;
}

/* A msgpack map whose first key is a text. */
static bool is_msgpack(const unsigned char *bytes, size_t size)
{
    if (size < 4) return false;
    size_t key = bytes[0] > 0x80 && bytes[0] < 0x90 ? 1 : bytes[0] == 0xde ? 3 : 0;
    return key && ((bytes[key] >= 0xa1 && bytes[key] <= 0xbf) || bytes[key] == 0xd9);
}

static bool all(const unsigned char *bytes, size_t size, bool text)
{
    size_t end = size < 512 ? size : 512;
    for (size_t i = 0; i < end; i++)
        if (text ? bytes[i] < ' ' && (bytes[i] < '\t' || bytes[i] > '\r') : bytes[i] != 0) return false;
    return true;
}

const char *dg_file_kind(const void *file, size_t size)
{
    const unsigned char *bytes = file;
    for (size_t m = 0; m < sizeof magics / sizeof *magics; m++)
        if (size >= magics[m].at + magics[m].size && !memcmp(bytes + magics[m].at, magics[m].bytes, magics[m].size))
            return magics[m].what;
    size_t at = first_letter(bytes, size);
    const unsigned char *text = bytes + at;
    if (begins(text, size - at, "<!doctype html") || begins(text, size - at, "<html"))
        return "a web page (HTML): the download got a page, of a login or an error, in place of the file; download it "
               "again, from the address of the file itself";
    if (begins(text, size - at, "<?xml") || begins(text, size - at, "<error"))
        return "an XML text, most likely a server's error; download the file again";
    if (is_onnx(bytes, size)) return "an ONNX model; take the PyTorch or safetensors file that it was made from";
    if (is_msgpack(bytes, size)) return "a msgpack file, as Flax writes" IN_PYTHON;
    if (size && all(bytes, size, false)) return "nothing but zero bytes at its beginning; download or copy it again";
    if (at < size && all(bytes, size, true))
        return *text == '{' || *text == '[' ? "a JSON text: a model's configuration or a server's error, no weights"
                                            : "a text, no weights";
    return NULL;
}
