/* One line a kernel: DG_KERNEL(name, arguments). Shapes and meaning are said where the kernel is defined. */
DG_KERNEL(to_bf16, int64_t count, const float *src, uint16_t *dst)
DG_KERNEL(add, int64_t count, int relu, int a_half, const void *a, int b_half, const void *b, int dst_half, void *dst)
DG_KERNEL(drop_path, int64_t count, const int64_t *from, int64_t size, float keep, int src_half, const void *src,
          const float *residual, int dst_half, void *dst)
DG_KERNEL(gelu_forward, int64_t count, int half, const void *src, void *dst)
DG_KERNEL(gelu_backward, int64_t count, int half, const void *src, const void *diff_dst, void *diff_src)
DG_KERNEL(gelu_backward_sums, int64_t rows, int64_t cols, int half, const void *src, const void *diff_dst,
          void *diff_src, const float *acc, float *sums, float *partial, int threads)
DG_KERNEL(layer_norm_forward, int64_t rows, int64_t cols, const int64_t *from, int64_t each, const float *src,
          const float *weight, const float *bias, float eps, int dst_half, void *dst, float *mean, float *rstd)
DG_KERNEL(add_layer_norm, int64_t rows, int64_t cols, const int64_t *from, int64_t each, float keep, int src_half,
          const void *src, int residual_half, const void *residual, const float *weight, const float *bias, float eps,
          float *sum, const int64_t *place, int dst_half, void *dst, float *mean, float *rstd)
DG_KERNEL(layer_norm_backward, int64_t rows, int64_t cols, const float *src, const int64_t *place, int64_t each,
          int diff_half, const void *diff_dst, const float *weight, const float *mean, const float *rstd,
          const float *acc_src, const float *acc_weight, const float *acc_bias, float *diff_src, float *diff_weight,
          float *diff_bias, float *partial, int threads)
DG_KERNEL(column_sum, int64_t rows, int64_t cols, int half, const void *src, const float *acc, float *dst,
          float *partial, int threads)
DG_KERNEL(outer_scratch, int64_t in, int64_t out, const struct dg_windows *windows, int threads, int64_t *bytes)
DG_KERNEL(outer, int half, int64_t rows, int64_t in, int64_t out, const struct dg_windows *windows, int src_half,
          const void *src, int diff_half, const void *diff_dst, const float *acc_weight, const float *acc_bias,
          float *diff_weight, float *diff_bias, float *scratch, int threads)
DG_KERNEL(softmax_forward, int64_t rows, int64_t cols, const float *src, float *dst)
DG_KERNEL(softmax_backward, int64_t rows, int64_t cols, const float *dst, const float *diff_dst, float *diff_src)
DG_KERNEL(attention_scratch, int64_t tokens, int64_t width, int64_t *forward, int64_t *backward)
DG_KERNEL(attention_forward, int half, int64_t queries, int64_t tokens, int64_t width, const void *q, const void *k,
          const void *v, int64_t ld, int64_t ahead, float scale, void *dst, int64_t ld_dst, int64_t ahead_dst,
          float *probs, float *lse, float *scratch)
DG_KERNEL(attention_backward, int half, int64_t queries, int64_t tokens, int64_t width, const void *q, const void *k,
          const void *v, int64_t ld, int64_t ahead, float scale, const void *dst, const void *diff_dst, int64_t ld_dst,
          int64_t ahead_dst, const float *lse, void *diff_q, void *diff_k, void *diff_v, float *scratch)
DG_KERNEL(token_scores, int64_t images, int64_t heads, int64_t tokens, int64_t cols, const float *vectors, int half,
          const void *src, float *scores)
DG_KERNEL(token_sums, int64_t images, int64_t heads, int64_t tokens, int64_t cols, const float *weights, int half,
          const void *src, float *vectors)
DG_KERNEL(token_spread, int64_t images, int64_t heads, int64_t tokens, int64_t cols, const float *diff_scores,
          const float *vectors, const float *weights, const float *diff_sums, int64_t query, const float *diff_query,
          float *scratch, int threads, int half, void *dst)
DG_KERNEL(patches, int64_t images, int64_t height, int64_t width, int64_t channels, int64_t k, int64_t stride,
          int src_half, const void *src, int dst_half, void *dst)
DG_KERNEL(dino_target, int64_t rows, int64_t cols, const float *t, const float *center, float temp, float *q,
          double *entropy)
DG_KERNEL(row_mean, int64_t rows, int64_t cols, const float *t, float *mean)
DG_KERNEL(dino_loss, int64_t rows, int64_t cols, int64_t batch, int64_t view0, const float *s, const float *q,
          float temp, float *lse, double *term)
DG_KERNEL(dino_loss_backward, int64_t rows, int64_t cols, int64_t batch, int64_t view0, const float *s, const float *q,
          float temp, const float *lse, float scale, float *diff_s)
DG_KERNEL(target_tile, int64_t rows, int64_t cols, float *t, const float *center, float temp, float *mean, double *sums)
DG_KERNEL(target_tile_again, int64_t rows, int64_t cols, float *t, const float *center, float temp, const float *stats)
DG_KERNEL(loss_tile, int64_t rows, int64_t cols, int64_t batch, const float *s, const float *q, float temp,
          double *sums)
DG_KERNEL(loss_tile_backward, int64_t rows, int64_t cols, int64_t batch, int64_t view0, const float *q, float temp,
          const float *lse, float scale, float *s)
DG_KERNEL(prototype_scratch, int64_t rows, int64_t in, int64_t prototypes, int64_t *features, int64_t *scratch)
DG_KERNEL(prototype_features, int64_t rows, int64_t in, const float *src, void *features)
DG_KERNEL(prototype_logits, int64_t rows, int64_t in, int64_t prototypes, const void *features, const float *g,
          const float *v, int64_t more, float *length, void *scratch, float *logits)
DG_KERNEL(prototype_grads, int64_t rows, int64_t in, int64_t prototypes, const void *features, const float *diff,
          void *scratch, float *diff_src, float *diff_w)
DG_KERNEL(sum_squares, int64_t count, const float *x, double *square)
DG_KERNEL(adamw, int64_t count, float *param, const float *grad, float *exp_avg, float *exp_avg_sq, float *teacher,
          float grad_scale, float decay, float beta1, float one_minus_beta1, float beta2, float one_minus_beta2,
          float step_size, float correction, float eps, float momentum, float one_minus_momentum)
DG_KERNEL(average, int64_t count, const float *param, float *teacher, float momentum, float one_minus_momentum)
DG_KERNEL(weight_norm_rows, int64_t rows, int64_t cols, const float *g, const float *v, float *w, float *length)
DG_KERNEL(weight_norm_rows_backward, int64_t rows, int64_t cols, const float *g, const float *v, const float *length,
          const float *diff_w, const float *acc_g, const float *acc_v, float *diff_g, float *diff_v)
DG_KERNEL(relu_forward, int64_t count, int half, const void *src, void *dst)
DG_KERNEL(relu_backward, int64_t count, int half, const void *dst, const void *diff_dst, void *diff_src)
DG_KERNEL(batch_norm_moments, int64_t rows, int64_t cols, int half, const void *src, float *mean, float *var,
          double *partial, int threads)
DG_KERNEL(batch_norm_apply, int64_t rows, int64_t cols, int half, const void *src, const float *mean, const float *var,
          const float *weight, const float *bias, double eps, int relu, void *dst, float *scale)
DG_KERNEL(batch_norm_backward, int64_t rows, int64_t cols, int half, const void *src, const float *mean,
          const float *var, const float *weight, double eps, const void *y, const void *diff_dst,
          const float *acc_weight, const float *acc_bias, void *diff_src, float *diff_weight, float *diff_bias,
          double *partial, int threads)
DG_KERNEL(global_mean, int64_t images, int64_t pixels, int64_t channels, int half, const void *src, float *dst)
DG_KERNEL(global_mean_backward, int64_t images, int64_t pixels, int64_t channels, const float *diff_dst, int half,
          void *diff_src)
DG_KERNEL(sgd, int64_t count, float *param, const float *grad, float *buffer, float *teacher, float grad_scale,
          float decay, float scale, float sgd_momentum, float lr, float momentum, float one_minus_momentum)
DG_KERNEL(lars_norms, int64_t count, const float *param, const float *grad, float grad_scale, float decay,
          double *partial, double *param_square, double *direction_square)
