/* What the CPU can do, for other rooms. */
#ifndef DG_OPS_DNNL_CPU_H
#define DG_OPS_DNNL_CPU_H

/* bf16 in oneDNN, as far as DNNL_MAX_CPU_ISA allows. */
enum dg_bf16_support {
    DG_BF16_NONE,      /* not at all, or by reference code */
    DG_BF16_CONVERTED, /* AVX-512: it converts and computes in f32 */
    DG_BF16_VDPBF16PS, /* by AVX-512's instruction */
    DG_BF16_AMX,       /* by tiles */
};
enum dg_bf16_support dg_bf16_support(void);

#endif
