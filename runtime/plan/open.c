/* Opens plans: maps the file, checks its header and the bounds of its sections, and has the records verified. */
#include "runtime/plan/open.h"

#include "runtime/base/file_map.h"
#include "runtime/plan/verify.h"

#include <string.h>

#define DAMAGED(what) "damaged plan: " what "; compile it again"

static const size_t record_size[DG_SECTIONS] = {1,
                                                sizeof(struct dg_plan_entry),
                                                sizeof(struct dg_plan_tensor),
                                                sizeof(struct dg_plan_op),
                                                sizeof(uint32_t),
                                                sizeof(union dg_attr),
                                                sizeof(struct dg_plan_knob),
                                                sizeof(struct dg_plan_schedule)};

static uint64_t checksum(const unsigned char *bytes, uint64_t size)
{
    static const unsigned char zero[8];
    size_t at = offsetof(struct dg_plan_header, checksum);
    uint64_t hash = dg_fnv1a(DG_FNV_BASIS, bytes, at);
    hash = dg_fnv1a(hash, zero, sizeof zero);
    return dg_fnv1a(hash, bytes + at + sizeof zero, size - at - sizeof zero);
}

/* A zero-terminated string of a plan that is not verified; NULL: it lies outside the file. */
static const char *stored_string(const unsigned char *bytes, uint64_t size, uint32_t offset)
{
    const struct dg_plan_header *header = (const void *)bytes;
    uint64_t strings = header->section[DG_SECTION_STRINGS].offset;
    if (strings > size || offset >= size - strings) return NULL;
    const char *text = (const char *)bytes + strings + offset;
    return memchr(text, 0, size - strings - offset) ? text : NULL;
}

/* Refuses a plan of another version, with the command that made it as far as it can be read. */
static enum dg_status other_version(const unsigned char *bytes, uint64_t size, struct dg_error *err)
{
    const struct dg_plan_header *header = (const void *)bytes;
    const char *source = stored_string(bytes, size, header->source), *name = stored_string(bytes, size, header->recipe);
    bool known = source && *source && name && *name && header->version < DG_PLAN_VERSION;
    size_t file = known ? strcspn(source, " ") : 0; /* command-line settings may follow */
    if (!known)
        return dg_fail(err, DG_ERR_INPUT, "plan version %u, this program reads version %u: compile it again",
                       header->version, DG_PLAN_VERSION);
    return dg_fail(err, DG_ERR_INPUT,
                   "plan version %u, this program reads version %u: compile it again, with dinoc %.*s:%s%s -o PLAN",
                   header->version, DG_PLAN_VERSION, (int)file, source, name, source + file);
}

static enum dg_status check_header(const unsigned char *bytes, uint64_t size, struct dg_error *err)
{
    const struct dg_plan_header *header = (const void *)bytes;
    if (size < sizeof *header || memcmp(header->magic, DG_PLAN_MAGIC, 8))
        return dg_fail(err, DG_ERR_INPUT, "this is not a plan (plans are made by dinoc)");
    if (header->endian != DG_PLAN_ENDIAN)
        return dg_fail(err, DG_ERR_INPUT, "plan of a machine with another byte order");
    if (header->version != DG_PLAN_VERSION) return other_version(bytes, size, err);
    if (header->size != size)
        return dg_fail(err, DG_ERR_INPUT, DAMAGED("it says %llu bytes and has %llu"), (unsigned long long)header->size,
                       (unsigned long long)size);
    if (checksum(bytes, size) != header->checksum) return dg_fail(err, DG_ERR_INPUT, DAMAGED("checksum differs"));
    for (int s = 0; s < DG_SECTIONS; s++) {
        uint64_t offset = header->section[s].offset, count = header->section[s].count;
        if (offset % 8 || offset > size || count > (size - offset) / record_size[s] || count > UINT32_MAX / 2)
            return dg_fail(err, DG_ERR_INPUT, DAMAGED("section %d lies outside the file"), s);
    }
    if (!header->section[DG_SECTION_STRINGS].count ||
        bytes[header->section[DG_SECTION_STRINGS].offset + header->section[DG_SECTION_STRINGS].count - 1])
        return dg_fail(err, DG_ERR_INPUT, DAMAGED("strings do not end"));
    return DG_OK;
}

enum dg_status dg_plan_open_bytes(const void *bytes, uint64_t size, struct dg_plan *plan, struct dg_error *err)
{
    *plan = (struct dg_plan){0};
    DG_TRY(check_header(bytes, size, err));
    const struct dg_plan_header *header = bytes;
    const char *base = bytes;
    struct dg_plan p = {.header = header};
    p.strings = base + header->section[DG_SECTION_STRINGS].offset;
    p.num_string_bytes = header->section[DG_SECTION_STRINGS].count;
#define SECTION(field, number, id)                                                                                     \
    p.field = (const void *)(base + header->section[id].offset);                                                       \
    p.number = (uint32_t)header->section[id].count
    SECTION(entry, num_entries, DG_SECTION_ENTRIES);
    SECTION(tensor, num_tensors, DG_SECTION_TENSORS);
    SECTION(op, num_ops, DG_SECTION_OPS);
    SECTION(operand, num_operands, DG_SECTION_OPERANDS);
    SECTION(attr, num_attrs, DG_SECTION_ATTRS);
    SECTION(knob, num_knobs, DG_SECTION_KNOBS);
    SECTION(schedule, num_schedules, DG_SECTION_SCHEDULES);
#undef SECTION
    DG_TRY(dg_plan_verify(&p, err));
    *plan = p;
    return DG_OK;
}

enum dg_status dg_plan_open(const char *path, struct dg_plan *plan, struct dg_error *err)
{
    *plan = (struct dg_plan){0};
    struct dg_file_map map;
    DG_TRY(dg_file_map_open(path, "a plan", &map, err));
    enum dg_status status = dg_plan_open_bytes(map.bytes, map.size, plan, err);
    if (status != DG_OK) {
        dg_file_map_close(&map);
        dg_error_prefix(err, "%s", path);
        return status;
    }
    plan->mapped = map.size;
    return DG_OK;
}

void dg_plan_close(struct dg_plan *plan)
{
    if (plan->mapped) dg_file_map_close(&(struct dg_file_map){plan->header, plan->mapped});
    *plan = (struct dg_plan){0};
}
