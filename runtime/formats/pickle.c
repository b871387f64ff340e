#include "runtime/formats/pickle.h"

#include "runtime/formats/pickle_line.h"
#include "runtime/formats/pickle_machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct dg_pickle_value none = {.kind = DG_PICKLE_NONE}, yes = {.kind = DG_PICKLE_BOOL, .i = 1},
                                    no = {.kind = DG_PICKLE_BOOL, .i = 0};

void dg_pickle_complain(const struct dg_pickle_machine *m, const char *format, ...)
{
    char text[768];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    dg_fail(m->err, DG_ERR_INPUT, "byte %zu of the pickle: %s", m->opcode_at, text);
}
const char *dg_pickle_printable(char *out, size_t room, const char *text, int64_t size)
{
    size_t n = 0;
    for (int64_t i = 0; i < size && n + 4 < room; i++) out[n++] = text[i] >= ' ' && text[i] < 127 ? text[i] : '?';
    out[n] = 0;
    if (n < (size_t)size) strcpy(out + n, "...");
    return out;
}

/* ---- memory ---- */

void *dg_pickle_make(struct dg_pickle_machine *m, size_t size)
{
    void *place = dg_pickle_take(m->pickle, size);
    if (!place)
        dg_fail(m->err, DG_ERR_MEMORY, "byte %zu of the pickle: its values take more than %d MiB", m->opcode_at,
                DG_PICKLE_MAX_BYTES >> 20);
    return place;
}

enum dg_status dg_pickle_append(struct dg_pickle_machine *m, struct dg_pickle_value *list,
                                const struct dg_pickle_value *item)
{
    if (list->list.count == list->list.room) {
        int64_t room = list->list.room ? list->list.room * 2 : 4;
        const struct dg_pickle_value **larger = dg_pickle_make(m, (size_t)room * sizeof *larger);
        if (!larger) return DG_ERR_MEMORY;
        if (list->list.count) memcpy(larger, list->list.item, (size_t)list->list.count * sizeof *larger);
        list->list.item = larger;
        list->list.room = room;
    }
    list->list.item[list->list.count++] = item;
    return DG_OK;
}

/* ---- stack ---- */

/* Makes room for one more element in an array outside the arena. */
static bool grow(void *array, int64_t count, int64_t *room, size_t element)
{
    if (count < *room) return true;
    int64_t wanted = *room ? *room * 2 : 64;
    while (wanted <= count) wanted *= 2;
    void **place = array, *larger = realloc(*place, (size_t)wanted * element);
    if (!larger) return false;
    *place = larger;
    *room = wanted;
    return true;
}

static enum dg_status push(struct dg_pickle_machine *m, const struct dg_pickle_value *value)
{
    if (m->depth == DG_PICKLE_MAX_STACK)
        return dg_pickle_bad(m, "the stack grows beyond %d values", DG_PICKLE_MAX_STACK);
    if (!grow(&m->stack, m->depth, &m->stack_room, sizeof *m->stack))
        return dg_fail(m->err, DG_ERR_MEMORY, "out of memory");
    m->stack[m->depth++] = value;
    return DG_OK;
}

static enum dg_status push_new(struct dg_pickle_machine *m, struct dg_pickle_value value)
{
    struct dg_pickle_value *place = dg_pickle_make(m, sizeof *place);
    if (!place) return DG_ERR_MEMORY;
    *place = value;
    return push(m, place);
}

/* The number of values above the topmost mark; of all on the stack if there is no mark. */
static int64_t available(const struct dg_pickle_machine *m)
{
    return m->depth - (m->marks ? m->mark[m->marks - 1] : 0);
}

static enum dg_status pop(struct dg_pickle_machine *m, const struct dg_pickle_value **value)
{
    if (available(m) < 1) return dg_pickle_bad(m, "it takes from an empty stack");
    *value = m->stack[--m->depth];
    return DG_OK;
}

/* The list or dict on top of the stack. The machine made it, so it may be changed. */
static enum dg_status top(const struct dg_pickle_machine *m, int64_t below, struct dg_pickle_value **value)
{
    if (available(m) < below + 1) return dg_pickle_bad(m, "it takes from an empty stack");
    *value = (struct dg_pickle_value *)(uintptr_t)m->stack[m->depth - 1 - below];
    return DG_OK;
}

/* ---- the stream ---- */

static enum dg_status need(const struct dg_pickle_machine *m, uint64_t count)
{
    if (count <= m->size - m->at) return DG_OK;
    return dg_pickle_bad(m, "it ends in the middle; is the file cut short?");
}

static enum dg_status read_number(struct dg_pickle_machine *m, size_t width, uint64_t *number)
{
    DG_TRY(need(m, width));
    *number = 0;
    for (size_t i = 0; i < width; i++) *number |= (uint64_t)m->bytes[m->at + i] << 8 * i;
    m->at += width;
    return DG_OK;
}

/* Text or bytes whose length is a number of `width` bytes. */
static enum dg_status read_text(struct dg_pickle_machine *m, size_t width, enum dg_pickle_kind kind)
{
    uint64_t size;
    DG_TRY(read_number(m, width, &size));
    DG_TRY(need(m, size));
    char *copy = dg_pickle_make(m, (size_t)size + 1);
    if (!copy) return DG_ERR_MEMORY;
    memcpy(copy, m->bytes + m->at, (size_t)size);
    copy[size] = 0;
    m->at += (size_t)size;
    return push_new(m, (struct dg_pickle_value){.kind = kind, .text = {copy, (int64_t)size}});
}

static enum dg_status read_long(struct dg_pickle_machine *m, size_t width)
{
    uint64_t size, bits = 0;
    DG_TRY(read_number(m, width, &size));
    DG_TRY(need(m, size));
    if (size > 8) {
        m->at -= width;
        return read_text(m, width, DG_PICKLE_LONG);
    }
    DG_TRY(read_number(m, (size_t)size, &bits));
    if (size && size < 8 && bits >> (8 * size - 1)) bits |= UINT64_MAX << 8 * size; /* the sign */
    return push_new(m, (struct dg_pickle_value){.kind = DG_PICKLE_INT, .i = (int64_t)bits});
}

static enum dg_status read_float(struct dg_pickle_machine *m)
{
    uint64_t little, big;
    DG_TRY(read_number(m, 8, &little));
    big = __builtin_bswap64(little);
    struct dg_pickle_value value = {.kind = DG_PICKLE_FLOAT};
    memcpy(&value.f, &big, sizeof big);
    return push_new(m, value);
}

/* A line of GLOBAL: `*line` and its length, without the newline. */
static enum dg_status read_line(struct dg_pickle_machine *m, const char **line, int64_t *length)
{
    const unsigned char *begin = m->bytes + m->at, *end = memchr(begin, '\n', m->size - m->at);
    if (!end) return dg_pickle_bad(m, "it ends in the middle; is the file cut short?");
    *line = (const char *)begin;
    *length = end - begin;
    m->at += (size_t)*length + 1;
    return DG_OK;
}

/* ---- memo ---- */

static enum dg_status put(struct dg_pickle_machine *m, uint64_t index)
{
    if (available(m) < 1) return dg_pickle_bad(m, "it remembers a value of an empty stack");
    if (index >= DG_PICKLE_MAX_MEMO) return dg_pickle_bad(m, "it remembers more than %d values", DG_PICKLE_MAX_MEMO);
    if (!grow(&m->memo, (int64_t)index, &m->memo_room, sizeof *m->memo))
        return dg_fail(m->err, DG_ERR_MEMORY, "out of memory");
    while (m->memo_size <= (int64_t)index) m->memo[m->memo_size++] = NULL;
    m->memo_count += !m->memo[index];
    m->memo[index] = m->stack[m->depth - 1];
    return DG_OK;
}

static enum dg_status get(struct dg_pickle_machine *m, uint64_t index)
{
    if (index >= (uint64_t)m->memo_size || !m->memo[index])
        return dg_pickle_bad(m, "it recalls value %llu, which it has not remembered", (unsigned long long)index);
    return push(m, m->memo[index]);
}

/* ---- calls ---- */

/* Calls what lies below `args` on the stack, and puts the result there. */
static enum dg_status call_below(struct dg_pickle_machine *m, const struct dg_pickle_value *args)
{
    const struct dg_pickle_value *function;
    struct dg_pickle_value result;
    DG_TRY(pop(m, &function));
    DG_TRY(dg_pickle_call(m, function, args, &result));
    return push_new(m, result);
}

static enum dg_status reduce(struct dg_pickle_machine *m)
{
    const struct dg_pickle_value *args;
    DG_TRY(pop(m, &args));
    return call_below(m, args);
}

/* NEWOBJ_EX: cls.__new__(cls, *args, **named) */
static enum dg_status reduce_named(struct dg_pickle_machine *m)
{
    const struct dg_pickle_value *named;
    DG_TRY(pop(m, &named));
    return reduce(m);
}

/* object.__setstate__(state): the attributes of an object; those of a dict (_metadata) or of a tensor are dropped. */
static enum dg_status build(struct dg_pickle_machine *m)
{
    const struct dg_pickle_value *state;
    struct dg_pickle_value *object;
    DG_TRY(pop(m, &state));
    DG_TRY(top(m, 0, &object));
    if (object->kind == DG_PICKLE_DICT || object->kind == DG_PICKLE_TENSOR) return DG_OK;
    if (object->kind != DG_PICKLE_OBJECT) return dg_pickle_bad(m, "it sets the state of what has none");
    object->state = state;
    if (state->kind == DG_PICKLE_TUPLE && state->list.count == 2) state = state->list.item[0]; /* beside __slots__ */
    if (state->kind == DG_PICKLE_DICT) object->list = state->list;
    return DG_OK;
}

/* ('storage', type, key, location, elements[, view]) */
static enum dg_status persistent(struct dg_pickle_machine *m)
{
    const struct dg_pickle_value *id;
    DG_TRY(pop(m, &id));
    const struct dg_pickle_value **item = id->list.item;
    const char *what = id->kind == DG_PICKLE_TUPLE && id->list.count ? dg_pickle_text(item[0]) : NULL;
    if (what && !strcmp(what, "module") &&
        id->list.count > 1) /* a class and its source, as PyTorch kept them before 1.0 */
        return push(m, item[1]);
    if (!what || strcmp(what, "storage") || (id->list.count != 5 && id->list.count != 6) || !dg_pickle_text(item[2]) ||
        item[4]->kind != DG_PICKLE_INT || item[4]->i < 0)
        return dg_pickle_bad(m, "a storage is not ('storage', type, key, location, elements)");
    if (item[1]->kind == DG_PICKLE_CLASS) /* tensors of it are not read */
        return push_new(m, (struct dg_pickle_value){.kind = DG_PICKLE_OBJECT, .class_name = item[1]->class_name});
    if (item[1]->kind != DG_PICKLE_GLOBAL || item[1]->global->is != DG_PICKLE_IS_STORAGE)
        return dg_pickle_bad(m, "a storage is not ('storage', type, key, location, elements)");
    if (id->list.count == 6 && item[5]->kind != DG_PICKLE_NONE)
        return dg_pickle_bad(m, "storage %.100s is a view of another; save the file again with PyTorch 0.4 or later",
                             dg_pickle_text(item[2]));
    struct dg_pickle_storage storage = {dg_pickle_text(item[2]), item[1]->global->dtype, item[4]->i};
    int index = dg_pickle_add_storage(m->pickle, &storage);
    if (index < 0) return dg_fail(m->err, DG_ERR_MEMORY, "out of memory");
    const struct dg_pickle_storage *known = dg_pickle_storage_at(m->pickle, index);
    if (known->dtype != storage.dtype || known->elements != storage.elements)
        return dg_pickle_bad(m, "storage %.100s has two types or lengths", storage.key);
    return push_new(m, (struct dg_pickle_value){.kind = DG_PICKLE_STORAGE, .storage = index});
}

/* ---- collections ---- */

/* Replaces the values above the topmost mark by a new TUPLE, LIST or DICT of them. */
static enum dg_status collect(struct dg_pickle_machine *m, enum dg_pickle_kind kind, int64_t count)
{
    if (available(m) < count) return dg_pickle_bad(m, "it takes from an empty stack");
    struct dg_pickle_value value = {.kind = kind};
    value.list.count = value.list.room = count;
    if (count) {
        value.list.item = dg_pickle_make(m, (size_t)count * sizeof *value.list.item);
        if (!value.list.item) return DG_ERR_MEMORY;
        memcpy(value.list.item, m->stack + m->depth - count, (size_t)count * sizeof *value.list.item);
    }
    m->depth -= count;
    return push_new(m, value);
}

static enum dg_status to_mark(struct dg_pickle_machine *m, int64_t *count)
{
    if (!m->marks) return dg_pickle_bad(m, "it looks for a mark that it has not set");
    *count = available(m);
    m->marks--;
    return DG_OK;
}

static enum dg_status collect_dict(struct dg_pickle_machine *m, int64_t count)
{
    return count % 2 ? dg_pickle_bad(m, "a dict's last key has no value") : collect(m, DG_PICKLE_DICT, count);
}

/* Moves the `count` topmost values to the end of the list, dict or object below them. */
static enum dg_status extend(struct dg_pickle_machine *m, enum dg_pickle_kind kind, int64_t count)
{
    struct dg_pickle_value *list;
    DG_TRY(top(m, count, &list));
    if (list->kind == DG_PICKLE_OBJECT && kind == DG_PICKLE_LIST) { /* its items are not read */
        m->depth -= count;
        return DG_OK;
    }
    if (list->kind != kind && list->kind != DG_PICKLE_OBJECT)
        return dg_pickle_bad(m, "it adds to something that is not a %s", kind == DG_PICKLE_LIST ? "list" : "dict");
    if (kind == DG_PICKLE_DICT && count % 2) return dg_pickle_bad(m, "a dict's last key has no value");
    for (int64_t i = 0; i < count; i++) DG_TRY(dg_pickle_append(m, list, m->stack[m->depth - count + i]));
    m->depth -= count;
    return DG_OK;
}

/* Replaces the values above the topmost mark by an object, whose items they were. */
static enum dg_status drop_into(struct dg_pickle_machine *m, const char *class_name)
{
    int64_t count;
    DG_TRY(to_mark(m, &count));
    m->depth -= count;
    return push_new(m, (struct dg_pickle_value){.kind = DG_PICKLE_OBJECT, .class_name = class_name});
}

/* ADDITEMS: a set's items are not read. */
static enum dg_status drop_items(struct dg_pickle_machine *m)
{
    int64_t count;
    DG_TRY(to_mark(m, &count));
    m->depth -= count;
    return available(m) < 1 ? dg_pickle_bad(m, "it takes from an empty stack") : DG_OK;
}

static enum dg_status mark(struct dg_pickle_machine *m)
{
    if (m->marks == DG_PICKLE_MAX_STACK) return dg_pickle_bad(m, "more than %d marks", DG_PICKLE_MAX_STACK);
    if (!grow(&m->mark, m->marks, &m->mark_room, sizeof *m->mark))
        return dg_fail(m->err, DG_ERR_MEMORY, "out of memory");
    m->mark[m->marks++] = m->depth;
    return DG_OK;
}

/* ---- opcodes ---- */

static enum dg_status protocol(struct dg_pickle_machine *m)
{
    uint64_t version;
    DG_TRY(read_number(m, 1, &version));
    if (version > 5) return dg_pickle_bad(m, "protocol %d; 0 to 5 can be read", (int)version);
    return DG_OK;
}

static enum dg_status push_global(struct dg_pickle_machine *m, const char *module, int64_t module_size,
                                  const char *name, int64_t name_size)
{
    struct dg_pickle_value value;
    DG_TRY(dg_pickle_find_global(m, module, module_size, name, name_size, &value));
    return push_new(m, value);
}

static enum dg_status global(struct dg_pickle_machine *m)
{
    const char *module, *name;
    int64_t module_size, name_size;
    DG_TRY(read_line(m, &module, &module_size));
    DG_TRY(read_line(m, &name, &name_size));
    return push_global(m, module, module_size, name, name_size);
}

/* INST: the class is named here, its arguments lie above the mark. OBJ: the class is the first of them. */
static enum dg_status instance(struct dg_pickle_machine *m, bool named)
{
    int64_t count;
    const struct dg_pickle_value *class = NULL, *args;
    if (named) {
        DG_TRY(global(m));
        DG_TRY(pop(m, &class));
    }
    DG_TRY(to_mark(m, &count));
    if (!named && count < 1) return dg_pickle_bad(m, "it takes from an empty stack");
    DG_TRY(collect(m, DG_PICKLE_TUPLE, named ? count : count - 1));
    DG_TRY(pop(m, &args));
    if (class) DG_TRY(push(m, class));
    return call_below(m, args);
}

static enum dg_status stack_global(struct dg_pickle_machine *m)
{
    const struct dg_pickle_value *name, *module;
    DG_TRY(pop(m, &name));
    DG_TRY(pop(m, &module));
    if (name->kind != DG_PICKLE_TEXT || module->kind != DG_PICKLE_TEXT)
        return dg_pickle_bad(m, "a module or its member is named by something that is not text");
    return push_global(m, module->text.bytes, module->text.size, name->text.bytes, name->text.size);
}

static enum dg_status read_integer(struct dg_pickle_machine *m, size_t width)
{
    uint64_t number;
    DG_TRY(read_number(m, width, &number));
    int64_t value = width == 4 ? (int32_t)(uint32_t)number : (int64_t)number; /* only the widest has a sign */
    return push_new(m, (struct dg_pickle_value){.kind = DG_PICKLE_INT, .i = value});
}

/* The numbers of protocol 0: a line of digits. */
static enum dg_status read_digits(struct dg_pickle_machine *m, unsigned char opcode)
{
    const char *line;
    char text[64], *end;
    int64_t length;
    DG_TRY(read_line(m, &line, &length));
    if (length < 1 || length >= (int64_t)sizeof text)
        return dg_pickle_bad(m, "a number of %lld characters", (long long)length);
    memcpy(text, line, (size_t)length);
    text[length] = 0;
    if (opcode == 'I' && (!strcmp(text, "00") || !strcmp(text, "01"))) return push(m, text[1] == '1' ? &yes : &no);
    if (opcode == 'L' && length > 1 && text[length - 1] == 'L') text[length - 1] = 0;
    struct dg_pickle_value value = {.kind = opcode == 'F' ? DG_PICKLE_FLOAT : DG_PICKLE_INT};
    if (opcode == 'F')
        value.f = strtod(text, &end);
    else
        value.i = strtoll(text, &end, 10);
    if (end == text || *end)
        return dg_pickle_bad(m, "\"%s\" is not a number", dg_pickle_printable((char[64]){0}, 64, text, length));
    return push_new(m, value);
}

/* The texts of protocol 0: a line. */
static enum dg_status read_text_line(struct dg_pickle_machine *m, unsigned char opcode)
{
    const char *line;
    int64_t length;
    DG_TRY(read_line(m, &line, &length));
    char *copy = dg_pickle_make(m, 2 * (size_t)length + 1);
    if (!copy) return DG_ERR_MEMORY;
    int64_t size = opcode == 'S' ? dg_pickle_unquote(line, length, copy) : dg_pickle_unescape(line, length, copy);
    if (size < 0) return dg_pickle_bad(m, "a line that should be a text is none");
    copy[size] = 0;
    return push_new(m, (struct dg_pickle_value){.kind = DG_PICKLE_TEXT, .text = {copy, size}});
}

/* The memo of protocol 0: its index is a line of digits. */
static enum dg_status memo_line(struct dg_pickle_machine *m, bool store)
{
    const char *line;
    int64_t length;
    uint64_t index = 0;
    DG_TRY(read_line(m, &line, &length));
    bool digits = length > 0 && length < 10;
    for (int64_t i = 0; digits && i < length; i++) {
        digits = line[i] >= '0' && line[i] <= '9';
        index = index * 10 + (uint64_t)(line[i] - '0');
    }
    if (!digits) return dg_pickle_bad(m, "a value is remembered under what is not a number");
    return store ? put(m, index) : get(m, index);
}

static enum dg_status memo_op(struct dg_pickle_machine *m, size_t width, bool store)
{
    uint64_t index;
    DG_TRY(read_number(m, width, &index));
    return store ? put(m, index) : get(m, index);
}

/* Pushes the constant that the opcode stands for; the last opcodes there are. */
static enum dg_status read_constant(struct dg_pickle_machine *m, unsigned char opcode)
{
    switch (opcode) {
    case 'N': return push(m, &none);
    case 0x88: return push(m, &yes);
    case 0x89: return push(m, &no);
    case 'K': return read_integer(m, 1);
    case 'M': return read_integer(m, 2);
    case 'J': return read_integer(m, 4);
    case 0x8a: return read_long(m, 1);
    case 0x8b: return read_long(m, 4);
    case 'G': return read_float(m);
    case 'X': return read_text(m, 4, DG_PICKLE_TEXT);
    case 0x8c: return read_text(m, 1, DG_PICKLE_TEXT);
    case 0x8d: return read_text(m, 8, DG_PICKLE_TEXT);
    case 'U': return read_text(m, 1, DG_PICKLE_TEXT); /* Python 2's str: names are ASCII */
    case 'T': return read_text(m, 4, DG_PICKLE_TEXT);
    case 'C': return read_text(m, 1, DG_PICKLE_BYTES);
    case 'B': return read_text(m, 4, DG_PICKLE_BYTES);
    case 0x8e:
    case 0x96: /* BYTEARRAY8 */ return read_text(m, 8, DG_PICKLE_BYTES);
    case 'I':
    case 'L':
    case 'F': return read_digits(m, opcode);
    case 'S':
    case 'V': return read_text_line(m, opcode);
    default:
        return dg_pickle_bad(m, "opcode 0x%02x is not one that weights need; is this a file of torch.save?",
                             (unsigned)opcode);
    }
}

/* Executes one opcode; STOP sets *done. */
static enum dg_status step(struct dg_pickle_machine *m, bool *done)
{
    const struct dg_pickle_value *value;
    int64_t count;
    uint64_t number;
    m->opcode_at = m->at;
    DG_TRY(need(m, 1));
    unsigned char opcode = m->bytes[m->at++];
    switch (opcode) {
    case '.': *done = true; return DG_OK;
    case 0x80: return protocol(m);
    case 0x95: return read_number(m, 8, &number); /* FRAME: a hint for readers of streams */
    case '(': return mark(m);
    case '0': /* POP takes a mark off, too */
        if (m->marks && !available(m)) {
            m->marks--;
            return DG_OK;
        }
        return pop(m, &value);
    case '1':
        DG_TRY(to_mark(m, &count));
        m->depth -= count;
        return DG_OK;
    case '2':
        if (available(m) < 1) return dg_pickle_bad(m, "it doubles the top of an empty stack");
        return push(m, m->stack[m->depth - 1]);
    case ')': return collect(m, DG_PICKLE_TUPLE, 0);
    case 0x85: return collect(m, DG_PICKLE_TUPLE, 1);
    case 0x86: return collect(m, DG_PICKLE_TUPLE, 2);
    case 0x87: return collect(m, DG_PICKLE_TUPLE, 3);
    case 't': DG_TRY(to_mark(m, &count)); return collect(m, DG_PICKLE_TUPLE, count);
    case 'l': DG_TRY(to_mark(m, &count)); return collect(m, DG_PICKLE_LIST, count);
    case 'd': DG_TRY(to_mark(m, &count)); return collect_dict(m, count);
    case ']': return collect(m, DG_PICKLE_LIST, 0);
    case '}': return collect(m, DG_PICKLE_DICT, 0);
    case 'a': return extend(m, DG_PICKLE_LIST, 1);
    case 's': return extend(m, DG_PICKLE_DICT, 2);
    case 0x8f: return push_new(m, (struct dg_pickle_value){.kind = DG_PICKLE_OBJECT, .class_name = "set"});
    case 0x90: return drop_items(m);
    case 0x91: return drop_into(m, "frozenset");
    case 'e': DG_TRY(to_mark(m, &count)); return extend(m, DG_PICKLE_LIST, count);
    case 'u': DG_TRY(to_mark(m, &count)); return extend(m, DG_PICKLE_DICT, count);
    case 'p': return memo_line(m, true);
    case 'g': return memo_line(m, false);
    case 'q': return memo_op(m, 1, true);
    case 'r': return memo_op(m, 4, true);
    case 0x94: return put(m, (uint64_t)m->memo_count); /* MEMOIZE */
    case 'h': return memo_op(m, 1, false);
    case 'j': return memo_op(m, 4, false);
    case 'c': return global(m);
    case 0x93: return stack_global(m);
    case 'R': /* REDUCE */
    case 0x81: /* NEWOBJ: cls.__new__(cls, *args) */ return reduce(m);
    case 0x92: return reduce_named(m);
    case 'i': return instance(m, true);
    case 'o': return instance(m, false);
    case 'b': return build(m);
    case 'Q': return persistent(m);
    default: return read_constant(m, opcode);
    }
}

enum dg_status dg_pickle_read(struct dg_pickle *pickle, const void *bytes, size_t size, size_t *used,
                              const struct dg_pickle_value **value, struct dg_error *err)
{
    struct dg_pickle_machine m = {.pickle = pickle, .bytes = bytes, .size = size, .err = err};
    bool done = false;
    enum dg_status status = DG_OK;
    while (!done && status == DG_OK) status = step(&m, &done);
    if (status == DG_OK) status = pop(&m, value);
    if (used) *used = m.at;
    free(m.stack);
    free(m.mark);
    free(m.memo);
    return status;
}
