#include "compiler/language/yaml.h"

#include "compiler/base/choices.h"

#include "ops/base/base.h"

#include <string.h>
#include <yaml.h>

enum { MAX_DEPTH = 64, MAX_NODES = 200000 };

struct reader {
    struct dg_arena *arena;
    struct dg_diagnostics *diag;
    const char *file, *text;
    size_t size;
    yaml_parser_t parser;
    int nodes;
};

static struct dg_origin origin_of(const struct reader *r, yaml_mark_t mark)
{
    return (struct dg_origin){.file = r->file, .line = (int)mark.line + 1, .column = (int)mark.column + 1};
}

/* The place of the byte at `offset`. */
static struct dg_origin place_of(const struct reader *r, size_t offset)
{
    struct dg_origin at = {.file = r->file, .line = 1, .column = 1};
    for (size_t i = 0; i < offset && i < r->size; i++) {
        at.column = r->text[i] == '\n' ? 1 : at.column + (((unsigned char)r->text[i] & 0xc0) != 0x80);
        at.line += r->text[i] == '\n';
    }
    return at;
}

/* The text at that line and column, which counts characters; the end of the text if there is none. */
static const char *text_at(const struct reader *r, const struct dg_origin *at)
{
    const char *text = r->text, *end = text + r->size;
    for (int line = 1, column = 1; text < end; text++) {
        if (((unsigned char)*text & 0xc0) == 0x80) continue; /* within a character */
        if (line == at->line && column == at->column) break;
        column = *text == '\n' ? 1 : column + 1;
        line += *text == '\n';
    }
    return text;
}

static bool is_one_of(char c, const char *characters) { return c && strchr(characters, c); }

/* An expression with brackets in a mapping or list within { } or [ ], which YAML takes for the beginning of a list: blocks[-1]. */
static bool is_unquoted(struct reader *r, const struct dg_origin *at)
{
    const char *stop = r->text + r->size, *first = text_at(r, at), *end = first;
    if (first == stop || *first != '[' || !strstr(r->parser.problem, "did not find expected ','")) return false;
    while (end < stop && *end != ']' && *end != '\n') end++;
    if (end == stop || *end != ']') return false;
    while (first > r->text && !is_one_of(first[-1], " ,:{[\n\"'")) first--;
    while (end + 1 < stop && !is_one_of(end[1], " ,}]\r\n")) end++;
    const char *word = dg_arena_strndup(r->arena, first, (size_t)(end - first) + 1);
    dg_diag_error(r->diag, at, "within { } or [ ] an expression with brackets needs quotes: \"%s\"", word);
    return true;
}

static bool next(struct reader *r, yaml_event_t *event)
{
    if (yaml_parser_parse(&r->parser, event)) return true;
    const yaml_parser_t *p = &r->parser;
    struct dg_origin at = origin_of(r, p->problem_mark), end = place_of(r, r->size);
    if (p->error == YAML_READER_ERROR) at = place_of(r, p->problem_offset); /* it has no mark then */
    if (at.line > end.line) at = end; /* libyaml ends a last line that has no end */
    if (p->problem && is_unquoted(r, &at)) return false;
    dg_diag_error(r->diag, &at, "%s", p->problem ? p->problem : "no YAML");
    if (p->context) {
        struct dg_origin from = origin_of(r, p->context_mark);
        dg_diag_note(r->diag, &from, "%s that begins here", p->context);
    }
    return false;
}

static bool refuse(struct reader *r, yaml_mark_t mark, const char *what)
{
    struct dg_origin at = origin_of(r, mark);
    dg_diag_error(r->diag, &at, "%s", what);
    return false;
}

static bool plain_only(struct reader *r, const yaml_event_t *event, const yaml_char_t *anchor, const yaml_char_t *tag)
{
    if (anchor)
        return refuse(r, event->start_mark, "anchors are not part of the language; give the value a name instead");
    if (tag) return refuse(r, event->start_mark, "tags are not part of the language");
    return true;
}

static void add_item(struct reader *r, struct dg_yaml *node, const char *key, struct dg_origin key_origin,
                     struct dg_yaml *value)
{
    node->item = dg_arena_grow(r->arena, node->item, node->count, &node->capacity, sizeof *node->item);
    node->item[node->count++] = (struct dg_yaml_item){.key = key, .key_origin = key_origin, .value = value};
}

static struct dg_yaml *read_node(struct reader *r, yaml_event_t *event, int depth);

/* Items of a list or map until its end event. */
static bool read_items(struct reader *r, struct dg_yaml *node, int depth)
{
    for (;;) {
        yaml_event_t event;
        const char *key = NULL;
        struct dg_origin key_origin = {0};
        if (!next(r, &event)) return false;
        if (event.type == YAML_SEQUENCE_END_EVENT || event.type == YAML_MAPPING_END_EVENT) {
            yaml_event_delete(&event);
            return true;
        }
        if (node->kind == DG_YAML_MAP) {
            key_origin = origin_of(r, event.start_mark);
            bool ok = event.type == YAML_SCALAR_EVENT
                          ? plain_only(r, &event, event.data.scalar.anchor, event.data.scalar.tag)
                          : refuse(r, event.start_mark, "a key must be a plain word");
            if (ok && strlen((const char *)event.data.scalar.value) != event.data.scalar.length)
                ok = refuse(r, event.start_mark, "a key with a zero byte");
            if (ok) key = dg_arena_strdup(r->arena, (const char *)event.data.scalar.value);
            yaml_event_delete(&event);
            if (!ok) return false;
            if (!strcmp(key, "<<")) {
                dg_diag_error(r->diag, &key_origin, "merge keys are not part of the language; use `like:`");
                return false;
            }
            const struct dg_yaml_item *first = dg_yaml_find(node, key);
            if (first) {
                dg_diag_error(r->diag, &key_origin, "key %s is there twice", key);
                dg_diag_note(r->diag, &first->key_origin, "the first is here");
                return false;
            }
            if (!next(r, &event)) return false;
        }
        struct dg_yaml *value = read_node(r, &event, depth + 1);
        if (!value) return false;
        add_item(r, node, key, key_origin, value);
    }
}

/* The node that begins with `event`, which is deleted. */
static struct dg_yaml *read_node(struct reader *r, yaml_event_t *event, int depth)
{
    struct dg_yaml *node = dg_arena_alloc(r->arena, sizeof *node);
    node->origin = origin_of(r, event->start_mark);
    bool ok = false;
    if (++r->nodes > MAX_NODES || depth > MAX_DEPTH) {
        refuse(r, event->start_mark, depth > MAX_DEPTH ? "nested too deeply" : "the file has too many values");
    } else if (event->type == YAML_SCALAR_EVENT) {
        node->kind = DG_YAML_SCALAR;
        node->text = dg_arena_strndup(r->arena, (const char *)event->data.scalar.value, event->data.scalar.length);
        node->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
        ok = plain_only(r, event, event->data.scalar.anchor, event->data.scalar.tag);
        if (ok && strlen(node->text) != event->data.scalar.length)
            ok = refuse(r, event->start_mark, "a value with a zero byte");
    } else if (event->type == YAML_SEQUENCE_START_EVENT) {
        node->kind = DG_YAML_LIST;
        ok = plain_only(r, event, event->data.sequence_start.anchor, event->data.sequence_start.tag) &&
             read_items(r, node, depth);
    } else if (event->type == YAML_MAPPING_START_EVENT) {
        node->kind = DG_YAML_MAP;
        ok = plain_only(r, event, event->data.mapping_start.anchor, event->data.mapping_start.tag) &&
             read_items(r, node, depth);
    } else if (event->type == YAML_ALIAS_EVENT) {
        refuse(r, event->start_mark, "aliases are not part of the language; use `like:` or a module");
    } else {
        refuse(r, event->start_mark, "expected a value");
    }
    yaml_event_delete(event);
    return ok ? node : NULL;
}

struct dg_yaml *dg_yaml_parse(struct dg_arena *arena, struct dg_diagnostics *diag, const char *file, const char *text,
                              size_t size)
{
    struct reader r = {.arena = arena, .diag = diag, .file = file, .text = text, .size = size};
    struct dg_yaml *documents = dg_arena_alloc(arena, sizeof *documents);
    documents->kind = DG_YAML_LIST;
    documents->origin.file = file;
    if (!yaml_parser_initialize(&r.parser)) {
        dg_diag_error(diag, &documents->origin, "out of memory");
        return NULL;
    }
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, size);
    bool ok = true, done = false;
    while (ok && !done) {
        yaml_event_t event;
        ok = next(&r, &event);
        if (!ok) break;
        switch (event.type) {
        case YAML_STREAM_END_EVENT: done = true; /* fall through */
        case YAML_STREAM_START_EVENT:
        case YAML_DOCUMENT_START_EVENT:
        case YAML_DOCUMENT_END_EVENT: yaml_event_delete(&event); break;
        default: {
            struct dg_yaml *node = read_node(&r, &event, 0);
            ok = node != NULL;
            if (ok) add_item(&r, documents, NULL, node->origin, node);
        }
        }
    }
    yaml_parser_delete(&r.parser);
    return ok ? documents : NULL;
}

struct dg_yaml_item *dg_yaml_find(const struct dg_yaml *map, const char *key)
{
    for (size_t i = 0; map && map->kind == DG_YAML_MAP && i < map->count; i++)
        if (!strcmp(map->item[i].key, key)) return &map->item[i];
    return NULL;
}

struct dg_yaml *dg_yaml_get_if(struct dg_arena *arena, struct dg_yaml *map, const char *key)
{
    return dg_yaml_find(map, key) ? dg_yaml_get(arena, map, key) : NULL;
}

struct dg_yaml *dg_yaml_get(struct dg_arena *arena, struct dg_yaml *map, const char *key)
{
    if (!map || map->kind != DG_YAML_MAP) return NULL;
    size_t known = 0; /* a node that is repeated asks for the same keys each time */
    while (known < map->num_asked && strcmp(map->asked[known], key)) known++;
    if (known == map->num_asked) {
        map->asked = dg_arena_grow(arena, map->asked, map->num_asked, &map->asked_capacity, sizeof *map->asked);
        map->asked[map->num_asked++] = key;
    }
    struct dg_yaml_item *item = dg_yaml_find(map, key);
    if (!item) return NULL;
    item->used = true;
    return item->value;
}

static const char *asked_key(const void *context, int index) { return ((const struct dg_yaml *)context)->asked[index]; }

void dg_yaml_check_used(struct dg_diagnostics *diag, const struct dg_yaml *map, const char *what)
{
    if (!map || map->kind != DG_YAML_MAP) return;
    bool listed = false; /* the right keys are, by the first error */
    for (size_t i = 0; i < map->count; i++) {
        if (map->item[i].used) continue;
        const char *key = map->item[i].key;
        struct dg_arena *arena = dg_diag_arena(diag);
        int count = (int)map->num_asked;
        dg_diag_error(diag, &map->item[i].key_origin, "%s has no key %s%s", what, key,
                      listed ? dg_did_you_mean(arena, key, asked_key, map, count)
                             : dg_choices(arena, "it has", key, asked_key, map, count));
        listed = true;
    }
}

void dg_yaml_put(struct dg_arena *arena, struct dg_yaml *map, const char *key, struct dg_yaml *value)
{
    struct dg_yaml_item *item = dg_yaml_find(map, key);
    if (item) {
        item->value = value;
        return;
    }
    map->item = dg_arena_grow(arena, map->item, map->count, &map->capacity, sizeof *map->item);
    map->item[map->count++] =
        (struct dg_yaml_item){.key = dg_arena_strdup(arena, key), .key_origin = value->origin, .value = value};
}
