#include "tests/support/amx_trap.h"

#include "ops/kernels/amx.h"
#include "ops/kernels/level.h"

#ifdef __x86_64__

#include <signal.h>
#include <stddef.h>
#include <ucontext.h>

/* What VEX, ModRM and SIB say of an instruction that is encoded as C4, two bytes of VEX, an opcode, ModRM and, with an operand in memory,
 * SIB and a displacement. */
struct instruction {
    int prefix, opcode; /* prefix: 0 none, 1 66, 2 F3, 3 F2 */
    bool in_memory;
    int reg, rm, vvvv;        /* tiles */
    char *address;            /* of the operand in memory */
    int64_t stride;           /* bytes from row to row: the index times its scale */
    const uint8_t *following; /* the instruction after it */
};

static int64_t general_register(const greg_t *all, int number)
{
    static const int order[] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
    return all[order[number]];
}

/* Reads the address of an operand in memory; `next` is behind ModRM. */
static void read_address(struct instruction *in, const greg_t *all, const uint8_t *vex, int mod, const uint8_t *next)
{
    const int above_base = vex[1] & 0x20 ? 0 : 8, above_index = vex[1] & 0x40 ? 0 : 8;
    int base = in->rm, displacement_size = mod == 1 ? 1 : mod == 2 ? 4 : 0;
    bool relative = mod == 0 && base == 5; /* to the following instruction */
    if (base == 4) {
        const int sib = *next++, index = (sib >> 3 & 7) + above_index;
        base = sib & 7;
        if (index != 4) in->stride = general_register(all, index) * (1 << (sib >> 6));
    }
    bool none = mod == 0 && base == 5;
    if (none) displacement_size = 4;
    int32_t displacement = 0;
    if (displacement_size == 1) displacement = (int8_t)*next;
    if (displacement_size == 4) memcpy(&displacement, next, 4);
    in->following = next + displacement_size;
    intptr_t from = relative ? (intptr_t)in->following : none ? 0 : general_register(all, base + above_base);
    in->address = (char *)(from + displacement);
}

static bool read_instruction(const uint8_t *at, const greg_t *all, struct instruction *in)
{
    if (at[0] != 0xc4 || (at[1] & 0x1f) != 2) return false; /* VEX of three bytes, the map 0F38 */
    *in = (struct instruction){.prefix = at[2] & 3,
                               .opcode = at[3],
                               .in_memory = at[4] < 0xc0,
                               .reg = at[4] >> 3 & 7,
                               .rm = at[4] & 7,
                               .vvvv = ~at[2] >> 3 & 15,
                               .following = at + 5};
    if (in->in_memory) read_address(in, all, at, at[4] >> 6, at + 5);
    return true;
}

/* ldtilecfg: eight tiles of 16 rows of 64 bytes, which is all that kernels configure. */
static bool is_configured_in_full(const char *config)
{
    for (int tile = 0; tile < 8; tile++) {
        uint16_t row_bytes;
        memcpy(&row_bytes, config + 16 + 2 * tile, 2);
        if (row_bytes != 64 || config[48 + tile] != 16) return false;
    }
    return config[0] == 1 && config[1] == 0;
}

/* False if it is none of AMX's that kernels use. */
static bool execute(const struct instruction *in)
{
    enum { NONE, F3 = 2, F2 };
    if (in->opcode == 0x49 && in->prefix == NONE && in->in_memory && is_configured_in_full(in->address))
        dg_amx_begin();
    else if (in->opcode == 0x49 && in->prefix == NONE && !in->in_memory)
        dg_amx_end();
    else if (in->opcode == 0x49 && in->prefix == F2 && !in->in_memory)
        dg_amx_zero(in->reg);
    else if (in->opcode == 0x4b && in->prefix == F2 && in->in_memory)
        dg_amx_load(in->reg, in->address, in->stride);
    else if (in->opcode == 0x4b && in->prefix == F3 && in->in_memory)
        dg_amx_store(in->reg, in->address, in->stride);
    else if (in->opcode == 0x5c && in->prefix == F3 && !in->in_memory)
        dg_amx_product(in->reg, in->rm, in->vvvv);
    else
        return false;
    return true;
}

static void on_illegal_instruction(int number, siginfo_t *info, void *context)
{
    (void)info;
    greg_t *all = ((ucontext_t *)context)->uc_mcontext.gregs;
    struct instruction in;
    if (read_instruction((const uint8_t *)all[REG_RIP], all, &in) && execute(&in))
        all[REG_RIP] = (greg_t)in.following;
    else
        signal(number, SIG_DFL); /* it comes again, and ends the process */
}

bool amx_can_run(void)
{
    if (dg_cpu_has_level(DG_CPU_V5)) return true;
    struct sigaction action = {.sa_sigaction = on_illegal_instruction, .sa_flags = SA_SIGINFO};
    return dg_cpu_has_level(DG_CPU_V4B) && sigaction(SIGILL, &action, NULL) == 0;
}

#else

bool amx_can_run(void) { return false; }

#endif
