#include "runtime/formats/pickle_value.h"

#include <stdlib.h>
#include <string.h>

enum { CHUNK = 1 << 16 };

struct chunk {
    struct chunk *next;
    size_t used, size;
    _Alignas(16) unsigned char bytes[];
};

struct dg_pickle {
    struct chunk *chunk;
    size_t total; /* bytes of all chunks */
    struct dg_pickle_storage *storage;
    int storages, storage_room;
    int *by_key; /* hash table of storage indices plus one; a power of two in size, half of it free */
    int by_key_size;
};

void *dg_pickle_take(struct dg_pickle *p, size_t size)
{
    size = (size + 15) & ~(size_t)15;
    if (!p->chunk || p->chunk->size - p->chunk->used < size) {
        size_t room = size > CHUNK ? size : CHUNK;
        struct chunk *chunk = NULL;
        if (room <= DG_PICKLE_MAX_BYTES && p->total <= DG_PICKLE_MAX_BYTES - room) chunk = malloc(sizeof *chunk + room);
        if (!chunk) return NULL;
        *chunk = (struct chunk){.next = p->chunk, .size = room};
        p->chunk = chunk;
        p->total += room;
    }
    void *place = p->chunk->bytes + p->chunk->used;
    p->chunk->used += size;
    return place;
}

static int *place_of(const struct dg_pickle *p, const char *key)
{
    uint64_t hash = dg_fnv1a(DG_FNV_BASIS, key, strlen(key));
    for (;; hash++) {
        int *place = &p->by_key[hash & (uint64_t)(p->by_key_size - 1)];
        if (!*place || !strcmp(p->storage[*place - 1].key, key)) return place;
    }
}

static bool grow_storages(struct dg_pickle *p)
{
    if (p->storages < p->storage_room) return true;
    int room = p->storage_room ? p->storage_room * 2 : 64;
    struct dg_pickle_storage *storage = realloc(p->storage, (size_t)room * sizeof *storage);
    if (!storage) return false;
    p->storage = storage;
    int *table = calloc((size_t)room * 2, sizeof *table);
    if (!table) return false;
    free(p->by_key);
    p->by_key = table;
    p->by_key_size = room * 2;
    p->storage_room = room;
    for (int s = 0; s < p->storages; s++) *place_of(p, p->storage[s].key) = s + 1;
    return true;
}

int dg_pickle_add_storage(struct dg_pickle *p, const struct dg_pickle_storage *storage)
{
    if (!grow_storages(p)) return -1;
    int *place = place_of(p, storage->key);
    if (!*place) {
        p->storage[p->storages++] = *storage;
        *place = p->storages;
    }
    return *place - 1;
}

enum dg_status dg_pickle_open(struct dg_pickle **pickle, struct dg_error *err)
{
    *pickle = calloc(1, sizeof **pickle);
    return *pickle ? DG_OK : dg_fail(err, DG_ERR_MEMORY, "out of memory");
}

void dg_pickle_close(struct dg_pickle *pickle)
{
    if (!pickle) return;
    for (struct chunk *chunk = pickle->chunk, *next; chunk; chunk = next) {
        next = chunk->next;
        free(chunk);
    }
    free(pickle->storage);
    free(pickle->by_key);
    free(pickle);
}

int dg_pickle_storages(const struct dg_pickle *pickle) { return pickle->storages; }

const struct dg_pickle_storage *dg_pickle_storage_at(const struct dg_pickle *pickle, int index)
{
    return &pickle->storage[index];
}

int dg_pickle_storage_find(const struct dg_pickle *pickle, const char *key)
{
    return pickle->storages ? *place_of(pickle, key) - 1 : -1;
}

const char *dg_pickle_text(const struct dg_pickle_value *value)
{
    if (!value || value->kind != DG_PICKLE_TEXT) return NULL;
    return (int64_t)strlen(value->text.bytes) == value->text.size ? value->text.bytes : NULL;
}

const struct dg_pickle_value *dg_pickle_get(const struct dg_pickle_value *dict, const char *key)
{
    if (!dict || (dict->kind != DG_PICKLE_DICT && dict->kind != DG_PICKLE_OBJECT)) return NULL;
    for (int64_t i = dict->list.count - 2; i >= 0; i -= 2) {
        const char *text = dg_pickle_text(dict->list.item[i]);
        if (text && !strcmp(text, key)) return dict->list.item[i + 1];
    }
    return NULL;
}
