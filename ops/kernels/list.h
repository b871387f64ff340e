/* One line a kernel: DG_KERNEL(name, arguments). Shapes and meaning are said where the kernel is defined. */
DG_KERNEL(add, int64_t count, const float *a, const float *b, float *dst)
