/* Truly sparse training of multi-layer perceptrons: the loops of sparse.py, one thread.

   Weights, gradients and optimiser state exist for active weights only, in the order of their input
   neurons (CSC), so that one walk over the deltas gives the gradient by the activations and that by
   the weights; the forward pass reads a copy in the order of the output neurons (CSR). The first
   layer, through which nothing is propagated, has that order alone. Activations and deltas lie in
   panels of some samples, [panel][neuron][sample], so that each weight touches contiguous samples
   and a panel stays in the cache while all weights of a layer pass by. Batches are padded to a
   multiple of 16; padded deltas are zero, so padding enters no gradient. Formulas: cross entropy of
   a softmax, backpropagation; the optimisers are those that masked.py writes out, the dropout hash
   is networks.dropout_keep.

   Every sum has one order, whatever the width of the machine's vectors, and every multiplication
   with an addition is either fused by name (`fused`) or not at all (-ffp-contract=off): all machines
   get the same bits. Sums over samples have 16 lanes. Where vectors have 8, the lanes 0 to 7 of all
   blocks of 16 come first, half 0, then the lanes 8 to 15, half 1. */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* Vectors as wide as the machine's registers; buffers are aligned to 16 floats. */
#define LANES 16
#if defined(__AVX512F__)
#define WIDE 16
#else
#define WIDE 8
#endif
#define HALVES (LANES / WIDE)
typedef float vec __attribute__((vector_size(4 * WIDE)));
typedef int32_t ints __attribute__((vector_size(4 * WIDE)));
typedef uint32_t bits __attribute__((vector_size(4 * WIDE)));
typedef float vec8 __attribute__((vector_size(32)));
#define ALWAYS static inline __attribute__((always_inline))
#if defined(__clang__) || __GNUC__ >= 12
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#define SHUFFLE8 SHUFFLE
#else
typedef int32_t lanes8 __attribute__((vector_size(32)));
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (ints){__VA_ARGS__})
#define SHUFFLE8(a, b, ...) __builtin_shuffle(a, b, (lanes8){__VA_ARGS__})
#endif

enum { HEAVY_BALL, NESTEROV, ADAMW };
enum { COUPLED, DECOUPLED, INDEPENDENT };
enum { LINEAR_PIECES, SRELU, GELU };
enum { NO_NORM, BATCH_NORM, LAYER_NORM };

/* Mirrored by sparse._Layer, field by field. */
typedef struct {
    int64_t outputs, inputs, count;
    int64_t *start;    /* by output: weights of output o are start[o] .. start[o + 1] */
    int32_t *column;
    int64_t *in_start; /* by input; absent for the first layer */
    int32_t *in_row;
    int32_t *place;    /* of a weight by output: where it is by input */
    float *by_output;  /* copy of the weights for the forward pass */
    float *weight, *first, *second, *gradient; /* by input; by output in the first layer */
    float *factor;     /* of the gradient, per output; or NULL */
    float *bias, *bias_gradient;
    float *scale, *scale_gradient, *shift, *shift_gradient; /* normalisation */
    float *mean, *variance;                                 /* running */
    float *inverse;    /* 1 / deviation, per output (batch) or sample (layer) */
    float *srelu, *srelu_gradient;                          /* [4][outputs] */
    float *input;
    float *value;      /* before the activation; normalised, before scale and shift */
    float *passed;     /* what the activation and dropout let pass of a delta; of SReLU dropout's */
    float *delta;      /* gradient of the loss by the layer's weighted sums */
    float slope;
} Layer;

/* Mirrored by sparse._Net. */
typedef struct {
    Layer *layers;
    int64_t depth, padded, extras, biases, steps;
    float *extra, *extra_gradient, *extra_first, *extra_second; /* biases, then the rest */
    float *scratch;    /* room for two values a sample or a neuron, and 8 more of each */
    int64_t room;      /* of each of the two */
    int32_t optimizer, decay_kind, decay_biases, activation, norm;
    uint32_t seed;
    double momentum, beta2, decay, dropout, smoothing;
    double faded_first, faded_second; /* what AdamW's averages still hold of their start, zero */
} Net;

/* Samples of a panel: wider ones leave the cache. */
#define PANEL (4 * LANES)
int64_t panel_size(void) { return PANEL; }

/* Walks the panels: samples p to p + w of the batch, which a layer of n neurons has at p * n. */
#define EACH_PANEL(net, p, w)                                                             \
    for (int64_t p = 0, w; p < (net)->padded &&                                           \
         (w = PANEL < (net)->padded - p ? PANEL : (net)->padded - p, 1); p += w)

/* Small things ------------------------------------------------------------------------------- */

ALWAYS vec load(const float *from) { return *(const vec *)from; }

/* The same value in all lanes; adding it to zeros would cost an addition, for the sake of -0. */
ALWAYS vec spread(float x) {
#if WIDE == 16
    return (vec){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x};
#else
    return (vec){x, x, x, x, x, x, x, x};
#endif
}

/* a * b + c, rounded once. */
ALWAYS float fused(float a, float b, float c) { return __builtin_fmaf(a, b, c); }

ALWAYS vec fused_lanes(vec a, vec b, vec c) {
#if defined(__AVX512F__)
    return (vec)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__FMA__)
    return (vec)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
    vec sum;
    for (int j = 0; j < WIDE; j++) sum[j] = fused(a[j], b[j], c[j]);
    return sum;
#endif
}

/* Lanes for which something holds: bits of a register of their own where there is one. */
#if defined(__AVX512F__)
typedef __mmask16 where;
ALWAYS where more(vec a, vec b) { return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_GT_OQ); }
ALWAYS where at_least(bits a, bits b) { return _mm512_cmpge_epu32_mask((__m512i)a, (__m512i)b); }
ALWAYS vec choose(where lanes, vec yes, vec no) {
    return (vec)_mm512_mask_blend_ps(lanes, (__m512)no, (__m512)yes);
}
ALWAYS vec only(where lanes, vec x) { return (vec)_mm512_maskz_mov_ps(lanes, (__m512)x); }
ALWAYS where first_lanes(int64_t count) { return (where)((1u << count) - 1); }
#else
typedef ints where;
ALWAYS where more(vec a, vec b) { return a > b; }
ALWAYS where at_least(bits a, bits b) { return (ints)(a >= b); }
ALWAYS vec choose(where lanes, vec yes, vec no) {
    return (vec)((lanes & (ints)yes) | (~lanes & (ints)no));
}
ALWAYS vec only(where lanes, vec x) { return (vec)(lanes & (ints)x); }
ALWAYS where first_lanes(int64_t count) { return (ints){0, 1, 2, 3, 4, 5, 6, 7} < (int32_t)count; }
#endif

/* a where it is larger, else b, which a comparison with what is not a number gives, too. */
ALWAYS vec larger(vec a, vec b) {
#if defined(__AVX512F__)
    return (vec)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(__AVX__)
    return (vec)_mm256_max_ps((__m256)a, (__m256)b);
#else
    return choose(more(a, b), a, b);
#endif
}

ALWAYS vec size_of_lanes(vec x) { return (vec)((ints)x & 0x7fffffff); }

/* x where `sign` is positive, else slope * x. */
ALWAYS vec bend(vec x, vec sign, float slope) {
    return choose(more(sign, spread(0.0f)), x, spread(slope) * x);
}

/* Which lanes of the vector that begins at sample s are among the first `real`. */
ALWAYS where inside(int64_t s, int64_t real) {
    return first_lanes(real - s < 0 ? 0 : real - s < WIDE ? real - s : WIDE);
}

/* The sum of eight lanes, in the order in which group_products folds. */
ALWAYS float eight_total(const float *x) {
    return ((x[0] + x[2]) + (x[1] + x[3])) + ((x[4] + x[6]) + (x[5] + x[7]));
}

ALWAYS float lanes_total(const vec *sum) {
    float lanes[LANES];
    memcpy(lanes, sum, sizeof lanes);
    return eight_total(lanes) + eight_total(lanes + 8);
}

static unsigned flush_denormals(void) {
#if defined(__x86_64__)
    unsigned before = _mm_getcsr();
    _mm_setcsr(before | 0x8040);
    return before;
#else
    return 0;
#endif
}

static void restore_denormals(unsigned before) {
#if defined(__x86_64__)
    _mm_setcsr(before);
#else
    (void)before;
#endif
}

/* 2^x to float accuracy; of what is below -126, or not a number, 2^-126. Polynomial: minimax. */
ALWAYS vec power_of_two(vec x) {
    vec bounded = larger(x, spread(-126.0f));
    /* Rounds to an integer, which is then in the lowest bits of the mantissa. */
    vec shifted = bounded + 12582912.0f, rest = bounded - (shifted - 12582912.0f);
    vec power = fused_lanes(spread(1.3276473e-3f), rest, spread(9.6755419e-3f));
    power = fused_lanes(power, rest, spread(5.5507135e-2f));
    power = fused_lanes(power, rest, spread(2.4022120e-1f));
    power = fused_lanes(power, rest, spread(6.9314694e-1f));
    power = fused_lanes(power, rest, spread(1.0f));
    return (vec)((bits)power + ((bits)shifted << 23));
}

/* e^(-x^2 / 2). */
ALWAYS vec bell(vec x) { return power_of_two(x * x * -0.72134752f); }

/* Normal distribution function, to 1.3e-7. density: bell(x). Polynomial: minimax for Mills' ratio
   under the weight of the density, up to 6, beyond which that leaves nothing of it. */
ALWAYS vec normal_below(vec x, vec density) {
    vec far = -larger(-size_of_lanes(x), spread(-6.0f));
    vec ratio = fused_lanes(spread(1.2713481e-6f), far, spread(-2.8995943e-5f));
    ratio = fused_lanes(ratio, far, spread(2.9517099e-4f));
    ratio = fused_lanes(ratio, far, spread(-1.8014336e-3f));
    ratio = fused_lanes(ratio, far, spread(7.5419168e-3f));
    ratio = fused_lanes(ratio, far, spread(-2.3762943e-2f));
    ratio = fused_lanes(ratio, far, spread(6.0701799e-2f));
    ratio = fused_lanes(ratio, far, spread(-1.3230561e-1f));
    ratio = fused_lanes(ratio, far, spread(2.4986957e-1f));
    ratio = fused_lanes(ratio, far, spread(-3.9893249e-1f));
    ratio = fused_lanes(ratio, far, spread(4.9999988e-1f));
    vec tail = ratio * density;
    return choose(more(x, spread(0.0f)), 1.0f - tail, tail);
}

ALWAYS uint32_t mix(uint32_t x) {
    x ^= x >> 16;
    x *= 0x7feb352du;
    x ^= x >> 15;
    x *= 0x846ca68bu;
    return x ^ (x >> 16);
}

ALWAYS bits mix_lanes(bits x) {
    x ^= x >> 16;
    x *= 0x7feb352du;
    x ^= x >> 15;
    x *= 0x846ca68bu;
    return x ^ (x >> 16);
}

/* Sparse products ---------------------------------------------------------------------------- */

/* Sums in registers: runs `call` for up to 4 times 16 samples until all are done. */
#define TILES(samples, call)                                           \
    for (int64_t left = (samples) / LANES, at = 0; left > 0;) {        \
        int64_t width = left > 4 ? 4 : left;                           \
        if (width == 4) call(4);                                       \
        else if (width == 3) call(3);                                  \
        else if (width == 2) call(2);                                  \
        else call(1);                                                  \
        at += width * LANES;                                           \
        left -= width;                                                 \
    }

/* With `width` vectors, 4 or 8 at most. */
ALWAYS void product_tile(const int width, int64_t rows, const int64_t *start, const int32_t *index,
                         const float *weight, const float *bias, const float *in, float *out,
                         int64_t samples, float slope) {
    for (int64_t row = 0; row < rows; row++) {
        vec sum[4 * HALVES];
        vec begin = spread(bias ? bias[row] : 0.0f);
#pragma GCC unroll 8
        for (int t = 0; t < width; t++) sum[t] = begin;
        for (int64_t k = start[row]; k < start[row + 1]; k++) {
            const vec *from = (const vec *)(in + index[k] * samples);
            vec w = spread(weight[k]);
#pragma GCC unroll 8
            for (int t = 0; t < width; t++) sum[t] = fused_lanes(w, from[t], sum[t]);
        }
#pragma GCC unroll 8
        for (int t = 0; t < width; t++)
            *(vec *)(out + row * samples + WIDE * t) = bend(sum[t], sum[t], slope);
    }
}

/* out[row] = bias[row] + sum of weight * in[index], times the slope where that is not positive; in
   and out are one panel of so many samples. */
static void product(int64_t rows, const int64_t *start, const int32_t *index, const float *weight,
                    const float *bias, const float *in, float *out, int64_t samples, float slope) {
#define TILE(w) product_tile((w) * HALVES, rows, start, index, weight, bias, in + at, out + at, \
                             samples, slope)
    TILES(samples, TILE)
#undef TILE
}

/* Sums of eight vectors, one in each lane: neighbours are folded together until one is left. */
#if WIDE == 16
ALWAYS vec fold_pairs(vec a, vec b) {
    return SHUFFLE(a, b, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29)
         + SHUFFLE(a, b, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
}
ALWAYS vec fold_singles(vec a, vec b) {
    return SHUFFLE(a, b, 0, 2, 16, 18, 4, 6, 20, 22, 8, 10, 24, 26, 12, 14, 28, 30)
         + SHUFFLE(a, b, 1, 3, 17, 19, 5, 7, 21, 23, 9, 11, 25, 27, 13, 15, 29, 31);
}
ALWAYS vec fold_lanes(vec a, vec b) {
    return SHUFFLE(a, b, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27)
         + SHUFFLE(a, b, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
}
#else
ALWAYS vec fold_pairs(vec a, vec b) {
    return SHUFFLE(a, b, 0, 1, 8, 9, 4, 5, 12, 13) + SHUFFLE(a, b, 2, 3, 10, 11, 6, 7, 14, 15);
}
ALWAYS vec fold_singles(vec a, vec b) {
    return SHUFFLE(a, b, 0, 2, 8, 10, 4, 6, 12, 14) + SHUFFLE(a, b, 1, 3, 9, 11, 5, 7, 13, 15);
}
ALWAYS vec fold_lanes(vec a, vec b) {
    return SHUFFLE(a, b, 0, 1, 2, 3, 8, 9, 10, 11) + SHUFFLE(a, b, 4, 5, 6, 7, 12, 13, 14, 15);
}
#endif

/* The end of a fold, of two times four vectors; where there are 16 lanes both halves of them. */
ALWAYS vec8 last_fold(vec a, vec b) {
    vec sums = fold_lanes(a, b);
#if WIDE == 16
    sums = fold_lanes(sums, sums);
#endif
    vec8 eight;
    memcpy(&eight, &sums, sizeof eight);
    return eight;
}

/* The totals of eight vectors, a lane each, as eight_total adds; where there are 16 lanes, both
   halves of them. */
ALWAYS vec8 eight_sums(const vec *one) {
    vec quarter[2];
#pragma GCC unroll 2
    for (int q = 0; q < 2; q++)
        quarter[q] = fold_singles(fold_pairs(one[4 * q], one[4 * q + 1]),
                                  fold_pairs(one[4 * q + 2], one[4 * q + 3]));
    return last_fold(quarter[0], quarter[1]);
}

/* Unaligned out; of the last weights of a row, lanes past its end add zero to what follows. */
ALWAYS void add_to(float *out, vec8 sums, int64_t valid) {
    static const int32_t first[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
    typedef int32_t mask8 __attribute__((vector_size(32)));
    if (valid < 8) {
        mask8 mask;
        memcpy(&mask, first + 8 - valid, sizeof mask);
        sums = (vec8)((mask8)sums & mask);
    }
    vec8 before;
    memcpy(&before, out, sizeof before);
    before += sums;
    memcpy(out, &before, sizeof before);
}

/* The k-th of the weights of a group; those past the last valid one repeat it, with weight zero. */
typedef struct {
    const int32_t *index;
    const float *weight;
    int64_t valid, samples;
} Group;

/* own . from[index] of the first `size` of eight weights, and, if sum is given, sum += weight * from.
   Folded as soon as there are two, or they would not stay in registers. */
ALWAYS vec8 group_products(const int width, const int size, Group g, const vec *own,
                           const float *from, vec *sum) {
    vec quarter[2];
#pragma GCC unroll 2
    for (int q = 0; q < 2; q++) {
        vec pair[2];
#pragma GCC unroll 2
        for (int p = 0; p < 2; p++) {
            vec one[2];
#pragma GCC unroll 2
            for (int o = 0; o < 2; o++) {
                int j = 4 * q + 2 * p + o;
                one[o] = (vec){};
                if (j >= size) continue;
                int64_t k = j < g.valid ? j : g.valid - 1;
                const float *row = from + g.index[k] * g.samples;
                vec w = spread(sum && j < g.valid ? g.weight[k] : 0.0f);
#pragma GCC unroll 4
                for (int t = 0; t < width; t++) {
                    vec value = load(row + LANES * t);
                    one[o] = t ? fused_lanes(own[t], value, one[o]) : own[t] * value;
                    if (sum) sum[t] = fused_lanes(w, value, sum[t]);
                }
            }
            pair[p] = fold_pairs(one[0], one[1]);
        }
        quarter[q] = fold_singles(pair[0], pair[1]);
    }
    return last_fold(quarter[0], quarter[1]);
}

/* The same for a single weight; the sum of all lanes, or of the half. */
ALWAYS float one_product(const int width, float weight, const vec *own, const float *row, vec *sum) {
    vec one = own[0] * load(row), w = spread(weight);
#pragma GCC unroll 4
    for (int t = 0; t < width; t++) {
        vec value = load(row + LANES * t);
        if (t) one = fused_lanes(own[t], value, one);
        if (sum) sum[t] = fused_lanes(w, value, sum[t]);
    }
#if WIDE == 16
    return lanes_total(&one);
#else
    float lanes[8];
    memcpy(lanes, &one, sizeof lanes);
    return eight_total(lanes);
#endif
}

/* Weights that both halves of the lanes pass by while their samples are in the cache. */
#define AT_ONCE 64

/* The same for at most AT_ONCE weights of a row and one half: out[k] += own . from[index[k]]. What the
   first half adds up is kept, for the second to be added to it and both together to out. */
ALWAYS void block_products(const int width, const int half, int64_t count, const int32_t *index,
                           const float *weight, const vec *own, const float *from, int64_t samples,
                           float *out, vec *sum, float *kept) {
    for (int64_t k = 0, left; (left = count - k) > 0; k += 8) {
        Group g = {index + k, weight + k, left < 8 ? left : 8, samples};
        vec8 sums;
        if (left >= 8) {
            g.valid = 8;
            sums = group_products(width, 8, g, own, from, sum);
        } else if (left > 4) sums = group_products(width, 7, g, own, from, sum);
        else if (left > 2) sums = group_products(width, 4, g, own, from, sum);
        else if (left > 1) sums = group_products(width, 2, g, own, from, sum);
        else {
            float one = one_product(width, sum ? weight[k] : 0.0f, own, from + index[k] * samples, sum);
            if (HALVES == 1) out[k] += one;
            else if (half == 0) kept[k] = one;
            else out[k] += kept[k] + one;
            return;
        }
        if (HALVES == 2 && half == 0) {
            memcpy(kept + k, &sums, sizeof sums);
            continue;
        }
        if (HALVES == 2) {
            vec8 first;
            memcpy(&first, kept + k, sizeof first);
            sums = first + sums;
        }
        add_to(out + k, sums, left < 8 ? left : 8);
    }
}

ALWAYS void load_half(const int width, int half, const float *row, vec *own) {
#pragma GCC unroll 4
    for (int t = 0; t < width; t++) own[t] = load(row + LANES * t + WIDE * half);
}

/* What a delta is multiplied by where its activation is not positive, and then everywhere. */
typedef struct {
    float slope, kept;
} Bend;

/* sum, bent by the row. */
ALWAYS void store_half(const int width, int half, const float *row, const vec *sum, Bend bent,
                       float *to) {
#pragma GCC unroll 4
    for (int t = 0; t < width; t++) {
        int64_t at = LANES * t + WIDE * half;
        *(vec *)(to + at) = bend(sum[t], load(row + at), bent.slope) * bent.kept;
    }
}

/* The same for all weights of a row of `width` times 16 samples. If `to` is given it gets the sum of
   weight * from, bent by the row. */
ALWAYS void row_products(const int width, int64_t count, const int32_t *index, const float *weight,
                         const float *row, const float *from, int64_t samples, float *out,
                         float *to, Bend bent) {
    vec own[4], first[4], second[4];
#pragma GCC unroll 4
    for (int t = 0; t < width; t++) first[t] = second[t] = (vec){};
#if WIDE == 16
    load_half(width, 0, row, own);
    block_products(width, 0, count, index, weight, own, from, samples, out, to ? first : NULL, NULL);
#else
    float kept[AT_ONCE];
    for (int64_t k = 0; k < count; k += AT_ONCE) {
        int64_t n = count - k < AT_ONCE ? count - k : AT_ONCE;
        load_half(width, 0, row, own);
        block_products(width, 0, n, index + k, weight + k, own, from, samples, out + k,
                       to ? first : NULL, kept);
        load_half(width, 1, row, own);
        block_products(width, 1, n, index + k, weight + k, own, from + WIDE, samples, out + k,
                       to ? second : NULL, kept);
    }
#endif
    if (!to) return;
    store_half(width, 0, row, first, bent, to);
    if (HALVES == 2) store_half(width, 1, row, second, bent, to);
}

ALWAYS void sampled_tile(const int width, int64_t rows, const int64_t *start, const int32_t *column,
                         const float *delta, const float *in, float *out, int64_t samples) {
    for (int64_t row = 0; row < rows; row++) {
        int64_t k = start[row];
        row_products(width, start[row + 1] - k, column + k, NULL, delta + row * samples, in,
                     samples, out + k, NULL, (Bend){1.0f, 1.0f});
    }
}

/* out[k] += delta[row] . in[column[k]] for the positions of a CSR pattern, over one panel; out has
   room for 8 more. */
void sampled(int64_t rows, const int64_t *start, const int32_t *column, const float *delta,
             const float *in, float *out, int64_t samples) {
#define TILE(w) sampled_tile(w, rows, start, column, delta + at, in + at, out, samples)
    TILES(samples, TILE)
#undef TILE
}

ALWAYS void backward_tile(const int width, int64_t rows, const int64_t *start, const int32_t *index,
                          const float *weight, const float *in, const float *delta,
                          float *gradient, float *out, int64_t samples, Bend bent) {
    for (int64_t row = 0; row < rows; row++) {
        int64_t k = start[row];
        row_products(width, start[row + 1] - k, index + k, weight + k, in + row * samples, delta,
                     samples, gradient + k, out + row * samples, bent);
    }
}

/* Both gradients of a layer over one panel, by input neuron: out[row] = sum of weight * delta[index],
   bent by in[row], and gradient[k] += in[row] . delta[index[k]];
   gradient has room for 8 more. */
static void backward_products(int64_t rows, const int64_t *start, const int32_t *index,
                              const float *weight, const float *in, const float *delta,
                              float *gradient, float *out, int64_t samples, Bend bent) {
#define TILE(w) backward_tile(w, rows, start, index, weight, in + at, delta + at, gradient, out + at, \
                              samples, bent)
    TILES(samples, TILE)
#undef TILE
}

/* Forward ------------------------------------------------------------------------------------ */

ALWAYS vec8 low(vec8 a, vec8 b) { return SHUFFLE8(a, b, 0, 8, 1, 9, 4, 12, 5, 13); }
ALWAYS vec8 high(vec8 a, vec8 b) { return SHUFFLE8(a, b, 2, 10, 3, 11, 6, 14, 7, 15); }
ALWAYS vec8 low2(vec8 a, vec8 b) { return SHUFFLE8(a, b, 0, 1, 8, 9, 4, 5, 12, 13); }
ALWAYS vec8 high2(vec8 a, vec8 b) { return SHUFFLE8(a, b, 2, 3, 10, 11, 6, 7, 14, 15); }
ALWAYS vec8 low4(vec8 a, vec8 b) { return SHUFFLE8(a, b, 0, 1, 2, 3, 8, 9, 10, 11); }
ALWAYS vec8 high4(vec8 a, vec8 b) { return SHUFFLE8(a, b, 4, 5, 6, 7, 12, 13, 14, 15); }

/* Eight samples of eight features each, turned round in registers. */
ALWAYS void transpose8(const float *const *from, int64_t f, float *out, int64_t stride) {
    vec8 r[8], a[8], b[8];
    for (int i = 0; i < 8; i++) memcpy(r + i, from[i] + f, sizeof r[i]);
    for (int i = 0; i < 8; i += 2) a[i] = low(r[i], r[i + 1]), a[i + 1] = high(r[i], r[i + 1]);
    for (int i = 0; i < 8; i += 4)
        for (int j = 0; j < 2; j++) {
            b[i + 2 * j] = low2(a[i + j], a[i + j + 2]);
            b[i + 2 * j + 1] = high2(a[i + j], a[i + j + 2]);
        }
    for (int i = 0; i < 4; i++) {
        *(vec8 *)(out + i * stride) = low4(b[i], b[i + 4]);
        *(vec8 *)(out + (i + 4) * stride) = high4(b[i], b[i + 4]);
    }
}

/* Rows of the data as columns of the first activations. */
static void gather(const Net *net, const float *x, const int64_t *rows, int64_t batch) {
    Layer *l = net->layers;
    int64_t features = l->inputs;
    EACH_PANEL(net, p, w) {
        float *out = l->input + p * features;
        for (int64_t s = 0; s < w; s += 8) {
            const float *from[8];
            /* Padding repeats a row: whatever it holds, its deltas are zero. */
            for (int i = 0; i < 8; i++)
                from[i] = x + rows[p + s + i < batch ? p + s + i : batch - 1] * features;
            int64_t f = 0;
            for (; f + 8 <= features; f += 8) transpose8(from, f, out + f * w + s, w);
            for (; f < features; f++)
                for (int i = 0; i < 8; i++) out[f * w + s + i] = from[i][f];
        }
    }
}

/* How many samples of the panel at p, of w, are of the batch; the rest is padding. */
ALWAYS int64_t real_samples(int64_t batch, int64_t p, int64_t w) {
    return batch - p < w ? batch - p : w;
}

/* sums[o] = sum over the batch of the distances of a neuron's values from a centre, or of the squares
   of them. */
ALWAYS void batch_sums(const int squares, const Net *net, const Layer *l, int64_t batch,
                       const float *centre, float *sums) {
    memset(sums, 0, (size_t)l->outputs * sizeof(float));
    EACH_PANEL(net, p, w) {
        int64_t real = real_samples(batch, p, w), last = l->outputs - 1;
        for (int64_t o = 0; o <= last; o += 8) {
            vec8 eight = {};
            for (int h = 0; h < HALVES; h++) {
                vec one[8];
#pragma GCC unroll 8
                for (int j = 0; j < 8; j++) {
                    int64_t row = o + j < last ? o + j : last;
                    const float *z = l->value + p * l->outputs + row * w + WIDE * h;
                    one[j] = (vec){};
                    for (int64_t s = 0; s < w; s += LANES) {
                        vec x = load(z + s) - centre[row];
                        if (s + LANES > real) x = only(inside(s + WIDE * h, real), x);
                        one[j] = squares ? fused_lanes(x, x, one[j]) : one[j] + x;
                    }
                }
                eight += eight_sums(one);
            }
            add_to(sums + o, eight, last + 1 - o < 8 ? last + 1 - o : 8);
        }
    }
}

/* Mean and 1 / deviation of every neuron; in evaluation by the running statistics. */
static void batch_statistics(const Net *net, Layer *l, int64_t batch, int training, int track,
                             float *restrict mean, float *restrict squares) {
    float *restrict inverse = l->inverse, *restrict old_mean = l->mean;
    float *restrict old_variance = l->variance;
    if (!training) {
        memcpy(mean, l->mean, (size_t)l->outputs * sizeof(float));
        for (int64_t o = 0; o < l->outputs; o++) inverse[o] = 1.0f / sqrtf(l->variance[o] + 1e-5f);
        return;
    }
    /* From the first row's values: what is the same in all rows has exactly no variance. */
    int64_t panel = PANEL < net->padded ? PANEL : net->padded;
    for (int64_t o = 0; o < l->outputs; o++) mean[o] = l->value[o * panel];
    batch_sums(0, net, l, batch, mean, squares);
    for (int64_t o = 0; o < l->outputs; o++) mean[o] += squares[o] / (float)batch;
    batch_sums(1, net, l, batch, mean, squares);
    for (int64_t o = 0; o < l->outputs; o++)
        inverse[o] = 1.0f / sqrtf(squares[o] / (float)batch + 1e-5f);
    if (!track) return;
    /* One row alone is its own mean, and its variance counts as zero. */
    float others = (float)(batch > 1 ? batch - 1 : 1);
    for (int64_t o = 0; o < l->outputs; o++) {
        old_mean[o] = fused(0.1f, mean[o] - old_mean[o], old_mean[o]);
        old_variance[o] = fused(0.1f, squares[o] / others - old_variance[o], old_variance[o]);
    }
}

/* Mean and 1 / deviation of every sample of a panel of `width` vectors. */
ALWAYS void sample_statistics(const int width, const Layer *l, int64_t w, const float *z,
                              float *mean, float *inverse) {
    float share = 1.0f / (float)l->outputs;
    vec centre[4], sum[2][4];
    for (int pass = 0; pass < 2; pass++) { /* means first, then the squares of distances from them */
#pragma GCC unroll 4
        for (int t = 0; t < width; t++) sum[0][t] = sum[1][t] = (vec){};
        for (int64_t o = 0; o < l->outputs; o += 2)
#pragma GCC unroll 2
            for (int odd = 0; odd < 2; odd++) {
                if (o + odd == l->outputs) break;
#pragma GCC unroll 4
                for (int t = 0; t < width; t++) {
                    vec x = load(z + (o + odd) * w + WIDE * t);
                    if (pass) x -= centre[t];
                    sum[odd][t] = pass ? fused_lanes(x, x, sum[odd][t]) : sum[odd][t] + x;
                }
            }
#pragma GCC unroll 4
        for (int t = 0; t < width; t++) {
            vec average = (sum[0][t] + sum[1][t]) * share;
            if (!pass) *(vec *)(mean + WIDE * t) = centre[t] = average;
            else
                for (int j = 0; j < WIDE; j++) inverse[WIDE * t + j] = 1.0f / sqrtf(average[j] + 1e-5f);
        }
    }
}

/* Which activations dropout keeps, and by what it multiplies them; networks.dropout_keep. */
typedef struct {
    uint32_t key, threshold;
    int64_t hashes; /* of a neuron: each decides about two samples */
    float factor;
} Dropout;

static Dropout dropout_of(const Net *net, int64_t layer, int64_t batch) {
    uint32_t key = mix(mix(mix(net->seed) ^ (uint32_t)net->steps) ^ (uint32_t)layer);
    double rate = net->dropout;
    uint32_t threshold = (uint32_t)lrint(rate * 65536.0);
    return (Dropout){key, (threshold < 65535 ? threshold : 65535) << 16, (batch + 31) / 32 * 16,
                     (float)(1.0 / (1.0 - rate))};
}

/* Walks the vectors of a row of w samples that have hashes of their own, the first of every two blocks
   of 16 samples; which hash they begin with. */
#define EACH_DRAW(place, w)                    \
    for (int64_t place = 0; place < (w);       \
         place += place % LANES + WIDE < LANES ? WIDE : LANES + WIDE)
#define AT(place) ((place) / (2 * LANES) * LANES + (place) % LANES)

/* Hashes from `first`; the lower half of each is for a sample, the upper for the one 16 later. */
ALWAYS bits draw(Dropout dropout, int64_t first) {
#if WIDE == 16
    bits index = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
#else
    bits index = {0, 1, 2, 3, 4, 5, 6, 7};
#endif
    return mix_lanes((index + (uint32_t)first) ^ dropout.key);
}

ALWAYS where kept(Dropout dropout, bits drawn, int later) {
    return at_least(later ? drawn : drawn << 16, (bits){} + dropout.threshold);
}

/* What stands before the activations of one neuron becomes them; what they let pass of a delta. */
ALWAYS void activate_row(const int activation, const int norm, const int dropout, const Layer *l,
                         int64_t o, int64_t w, float *z, const float *mean, const float *inverse,
                         float *out, float *passed, Dropout mask, int64_t hash) {
    int keep = (activation != SRELU || dropout) && passed;
    float scale = norm ? l->scale[o] : 1.0f, shift = norm ? l->shift[o] : 0.0f;
    vec left = {}, left_slope = {}, right = {}, right_slope = {};
    if (activation == SRELU) {
        left = spread(l->srelu[o]), left_slope = spread(l->srelu[l->outputs + o]);
        right = spread(l->srelu[2 * l->outputs + o]);
        right_slope = spread(l->srelu[3 * l->outputs + o]);
    }
    EACH_DRAW(place, w) {
        bits drawn = {};
        if (dropout) drawn = draw(mask, hash + AT(place));
#pragma GCC unroll 2
        for (int later = 0; later < 2; later++) {
            int64_t s = place + LANES * later;
            if (s >= w) break;
            vec y = load(z + s), value, slope = spread(1.0f);
            if (norm == BATCH_NORM) y = (y - mean[o]) * inverse[o];
            if (norm == LAYER_NORM) y = (y - load(mean + s)) * load(inverse + s);
            if (norm) {
                *(vec *)(z + s) = y;
                y = fused_lanes(spread(scale), y, spread(shift));
            }
            if (activation == GELU) {
                vec density = bell(y), below = normal_below(y, density);
                value = y * below;
                slope = fused_lanes(y * density, spread(0.39894228f), below);
            } else if (activation == SRELU) {
                value = choose(more(right, y), y, fused_lanes(right_slope, y - right, right));
                value = choose(more(y, left), value, fused_lanes(left_slope, y - left, left));
            } else {
                value = bend(y, y, l->slope);
                slope = bend(slope, y, l->slope);
            }
            if (dropout) {
                where stays = kept(mask, drawn, later);
                value = only(stays, value * mask.factor);
                slope = only(stays, slope * mask.factor);
            }
            *(vec *)(out + s) = value;
            if (keep) *(vec *)(passed + s) = slope;
        }
    }
}

/* Does the sign of a neuron's activations, dropout included, tell what passes on the way back? */
static int signs_tell(const Net *net, const Layer *l) {
    return net->activation == LINEAR_PIECES
        && (l->slope == 0.0f || (l->slope > 0.0f && net->dropout == 0.0));
}

/* Does the product that makes the layer's sums bend them at once? */
static int bends(const Net *net, const Layer *l) {
    return net->norm == NO_NORM && signs_tell(net, l);
}

/* The same for all neurons and one panel. */
ALWAYS void activate(const int activation, const int norm, const int dropout, const Net *net,
                     Layer *l, int64_t layer, int64_t batch, int64_t p, int64_t w,
                     const float *mean) {
    Dropout mask = dropout_of(net, layer, batch);
    const float *inverse = norm == LAYER_NORM ? l->inverse + p : l->inverse;
    float *passed = signs_tell(net, l) ? NULL : l->passed;
    for (int64_t o = 0; o < l->outputs; o++) {
        int64_t at = p * l->outputs + o * w;
        activate_row(activation, norm, dropout, l, o, w, l->value + at, mean, inverse,
                     l[1].input + at, passed ? passed + at : NULL, mask, o * mask.hashes + p / 2);
    }
}

/* What a hidden layer's weighted sums become, one panel of them at a time. */
static void hidden(const Net *net, int64_t i, int64_t batch, int64_t p, int64_t w, int training,
                   float *mean) {
    Layer *l = net->layers + i;
    int dropout = training && net->dropout > 0.0;
    if (bends(net, l)) {
        if (!dropout) return;
        Dropout mask = dropout_of(net, i, batch);
        for (int64_t o = 0; o < l->outputs; o++) {
            float *row = l[1].input + p * l->outputs + o * w;
            EACH_DRAW(place, w) {
                bits drawn = draw(mask, o * mask.hashes + p / 2 + AT(place));
#pragma GCC unroll 2
                for (int later = 0; later < 2; later++) {
                    int64_t s = place + LANES * later;
                    if (s >= w) break;
                    where stays = kept(mask, drawn, later);
                    *(vec *)(row + s) = only(stays, load(row + s) * mask.factor);
                }
            }
        }
        return;
    }
    if (net->norm == LAYER_NORM) {
        float *z = l->value + p * l->outputs, *inverse = l->inverse + p;
#define TILE(n) sample_statistics(n, l, w, z + at, mean + at, inverse + at)
#if WIDE == 16
        TILES(w, TILE)
#else
        for (int64_t at = 0; at < w; at += LANES) TILE(2);
#endif
#undef TILE
    }
#define CALL(a, n, d) activate(a, n, d, net, l, i, batch, p, w, mean)
#define OF_DROPOUT(a, n) if (dropout) CALL(a, n, 1); else CALL(a, n, 0)
#define OF_NORM(a)                                                    \
    if (net->norm == NO_NORM) { OF_DROPOUT(a, NO_NORM); }             \
    else if (net->norm == BATCH_NORM) { OF_DROPOUT(a, BATCH_NORM); }  \
    else { OF_DROPOUT(a, LAYER_NORM); }
    if (net->activation == GELU) { OF_NORM(GELU) }
    else if (net->activation == SRELU) { OF_NORM(SRELU) }
    else { OF_NORM(LINEAR_PIECES) }
#undef OF_NORM
#undef OF_DROPOUT
#undef CALL
}

static void forward(Net *net, const float *x, const int64_t *rows, int64_t batch, int training,
                    int track) {
    net->padded = (batch + 15) / 16 * 16;
    gather(net, x, rows, batch);
    float *mean = net->scratch, *squares = net->scratch + net->room;
    for (int64_t i = 0; i < net->depth; i++) {
        Layer *l = net->layers + i;
        const float *weight = l->weight;
        if (i > 0) {
            for (int64_t k = 0; k < l->count; k++) l->by_output[k] = l->weight[l->place[k]];
            weight = l->by_output;
        }
        int inner = i + 1 < net->depth, bent = inner && bends(net, l);
        int by_neuron = inner && net->norm == BATCH_NORM;
        float *out = bent ? l[1].input : l->value;
        EACH_PANEL(net, p, w) {
            product(l->outputs, l->start, l->column, weight, l->bias, l->input + p * l->inputs,
                    out + p * l->outputs, w, bent ? l->slope : 1.0f);
            if (inner && !by_neuron) hidden(net, i, batch, p, w, training, mean);
        }
        if (!by_neuron) continue;
        batch_statistics(net, l, batch, training, track, mean, squares);
        EACH_PANEL(net, p, w) hidden(net, i, batch, p, w, training, mean);
    }
}

/* Backward ----------------------------------------------------------------------------------- */

/* Delta of the output layer; returns 1 where an output is not finite. */
static int softmax(const Net *net, const int32_t *y, const int64_t *rows, int64_t batch) {
    Layer *l = net->layers + net->depth - 1;
    int64_t classes = l->outputs;
    int diverged = 0;
    float everywhere = (float)(net->smoothing / (double)(classes * batch));
    float target = (float)((1.0 - net->smoothing) / (double)batch);
    EACH_PANEL(net, p, w) {
        const float *value = l->value + p * classes;
        float *delta = l->delta + p * classes;
        int64_t real = real_samples(batch, p, w);
        for (int64_t s = 0; s < w; s += WIDE) {
            where of_batch = inside(s, real);
            vec top = load(value + s), sum = {}, finite = {};
            for (int64_t c = 1; c < classes; c++) top = larger(load(value + c * w + s), top);
            for (int64_t c = 0; c < classes; c++) {
                vec z = load(value + c * w + s);
                vec power = power_of_two((z - top) * 1.44269504f);
                *(vec *)(delta + c * w + s) = power;
                sum += power;
                finite += z - z; /* zero, or not a number */
            }
            vec lost = only(of_batch, finite);
            for (int j = 0; j < WIDE; j++) diverged |= lost[j] != 0.0f;
            vec share = only(of_batch, 1.0f / (sum * (float)batch));
            vec even = only(of_batch, spread(everywhere));
            for (int64_t c = 0; c < classes; c++) {
                vec *own = (vec *)(delta + c * w + s);
                *own = *own * share - even;
            }
        }
        for (int64_t s = 0; s < real; s++) delta[y[rows[p + s]] * w + s] -= target;
    }
    return diverged;
}

/* out[o] += the sum of a panel's row. */
static void add_row_sums(int64_t rows, int64_t w, const float *from, float *out) {
    for (int64_t o = 0; o < rows; o += 8) {
        vec8 eight = {};
        for (int h = 0; h < HALVES; h++) {
            vec one[8];
#pragma GCC unroll 8
            for (int j = 0; j < 8; j++) {
                const float *row = from + (o + j < rows ? o + j : rows - 1) * w + WIDE * h;
                one[j] = (vec){};
                for (int64_t s = 0; s < w; s += LANES) one[j] += load(row + s);
            }
            eight += eight_sums(one);
        }
        add_to(out + o, eight, rows - o < 8 ? rows - o : 8);
    }
}

/* Turns the gradient by SReLU's values into that by what stands before, two neurons at a time, and
   adds up those by its own parameters. */
ALWAYS void through_srelu(const int norm, const int dropout, Layer *l, int64_t p, int64_t w) {
    for (int64_t o = 0; o < l->outputs; o += 2) {
        int64_t rows = l->outputs - o < 2 ? 1 : 2;
        vec8 eight = {};
        for (int h = 0; h < HALVES; h++) {
            vec one[8] = {};
            for (int64_t r = 0; r < rows; r++) {
                int64_t n = l->outputs, row = o + r, at = p * n + row * w + WIDE * h;
                vec left = spread(l->srelu[row]), left_slope = spread(l->srelu[n + row]);
                vec right = spread(l->srelu[2 * n + row]), right_slope = spread(l->srelu[3 * n + row]);
                vec scale = spread(norm ? l->scale[row] : 1.0f);
                vec shift = spread(norm ? l->shift[row] : 0.0f);
                vec sum[4] = {}; /* of the deltas that pass on the left, times y, and on the right */
                for (int64_t s = 0; s < w; s += LANES) {
                    vec y = load(l->value + at + s), own = load(l->delta + at + s);
                    if (norm) y = fused_lanes(scale, y, shift);
                    if (dropout) own *= load(l->passed + at + s);
                    where above_left = more(y, left), below_right = more(right, y);
                    vec low = own - only(above_left, own);
                    vec high = only(above_left, own - only(below_right, own));
                    sum[0] += low;
                    sum[1] = fused_lanes(low, y, sum[1]);
                    sum[2] += high;
                    sum[3] = fused_lanes(high, y, sum[3]);
                    own = choose(below_right, own, own * right_slope);
                    own = choose(above_left, own, low * left_slope);
                    *(vec *)(l->delta + at + s) = own;
                }
                for (int k = 0; k < 4; k++) one[4 * r + k] = sum[k];
            }
            eight += eight_sums(one);
        }
        for (int64_t r = 0; r < rows; r++)
            for (int side = 0; side < 2; side++) {
                int64_t threshold = 2 * side * l->outputs + o + r, slope = threshold + l->outputs;
                float sum = eight[4 * r + 2 * side], along = eight[4 * r + 2 * side + 1];
                l->srelu_gradient[threshold] += sum * (1.0f - l->srelu[slope]);
                l->srelu_gradient[slope] += fused(-l->srelu[threshold], sum, along);
            }
    }
}

/* Turns the gradient by a panel's activations into that by what stands before them, normalised. */
static void through_activation(const Net *net, Layer *l, int64_t p, int64_t w) {
    int norm = net->norm != NO_NORM, dropout = net->dropout > 0.0;
    if (net->activation == SRELU) {
        if (norm && dropout) through_srelu(1, 1, l, p, w);
        else if (norm) through_srelu(1, 0, l, p, w);
        else if (dropout) through_srelu(0, 1, l, p, w);
        else through_srelu(0, 0, l, p, w);
        return;
    }
    float *delta = l->delta + p * l->outputs, *passed = l->passed + p * l->outputs;
    for (int64_t k = 0; k < l->outputs * w; k += WIDE)
        *(vec *)(delta + k) = load(delta + k) * load(passed + k);
}

/* shift[o] += the sum of a panel's deltas, scale[o] += that of their products with the values. */
ALWAYS void add_norm_gradients(const Layer *l, int64_t p, int64_t w, float *scale, float *shift) {
    const float *delta = l->delta + p * l->outputs, *value = l->value + p * l->outputs;
    int64_t last = l->outputs - 1;
    for (int64_t o = 0; o <= last; o += 8) {
        vec8 sums = {}, along = {};
        for (int h = 0; h < HALVES; h++) {
            vec one[8], product[8];
#pragma GCC unroll 8
            for (int j = 0; j < 8; j++) {
                int64_t at = (o + j < last ? o + j : last) * w + WIDE * h;
                one[j] = product[j] = (vec){};
                for (int64_t s = 0; s < w; s += LANES) {
                    vec own = load(delta + at + s);
                    one[j] += own;
                    product[j] = fused_lanes(own, load(value + at + s), product[j]);
                }
            }
            sums += eight_sums(one);
            along += eight_sums(product);
        }
        int64_t valid = last + 1 - o < 8 ? last + 1 - o : 8;
        add_to(shift + o, sums, valid);
        add_to(scale + o, along, valid);
    }
}

/* Through the normalisation, once the gradients by scale and shift are there. */
static void through_batch_norm(const Net *net, Layer *l, int64_t batch) {
    EACH_PANEL(net, p, w) {
        int64_t real = real_samples(batch, p, w);
        for (int64_t o = 0; o < l->outputs; o++) {
            float *d = l->delta + p * l->outputs + o * w, *z = l->value + p * l->outputs + o * w;
            vec factor = spread(l->scale[o] * l->inverse[o]);
            vec mean = spread(l->shift_gradient[o] / (float)batch);
            vec slope = spread(l->scale_gradient[o] / (float)batch);
            for (int64_t s = 0; s < w; s += WIDE) {
                vec own = factor * fused_lanes(-load(z + s), slope, load(d + s) - mean);
                if (s + WIDE > real) own = only(inside(s, real), own); /* padding stays zero */
                *(vec *)(d + s) = own;
            }
        }
    }
}

/* The same for `width` vectors of samples. */
ALWAYS void through_layer_norm(const int width, const Layer *l, int64_t w, float *delta,
                               const float *value, const float *inverse) {
    float share = 1.0f / (float)l->outputs;
    vec mean[4], slope[4];
#pragma GCC unroll 4
    for (int t = 0; t < width; t++) mean[t] = slope[t] = (vec){};
    for (int64_t o = 0; o < l->outputs; o++) {
        vec scale = spread(l->scale[o]);
#pragma GCC unroll 4
        for (int t = 0; t < width; t++) {
            vec own = load(delta + o * w + WIDE * t) * scale;
            mean[t] += own;
            slope[t] = fused_lanes(own, load(value + o * w + WIDE * t), slope[t]);
        }
    }
#pragma GCC unroll 4
    for (int t = 0; t < width; t++) mean[t] *= share, slope[t] *= share;
    for (int64_t o = 0; o < l->outputs; o++) {
        vec scale = spread(l->scale[o]);
#pragma GCC unroll 4
        for (int t = 0; t < width; t++) {
            vec *d = (vec *)(delta + o * w + WIDE * t);
            vec z = load(value + o * w + WIDE * t);
            *d = load(inverse + WIDE * t) * fused_lanes(-z, slope[t], *d * scale - mean[t]);
        }
    }
}

/* Gradients of a layer by its weights and biases, and the delta of the layer before. */
static void layer_gradients(const Net *net, int64_t i, int64_t batch) {
    Layer *l = net->layers + i, *before = l - 1;
    int bent = i > 0 && signs_tell(net, before);
    Bend bend = {1.0f, 1.0f};
    if (bent) {
        bend.slope = before->slope;
        if (net->dropout > 0.0) bend.kept = dropout_of(net, i - 1, batch).factor;
    }
    int has_bias = net->norm != BATCH_NORM || i + 1 == net->depth; /* networks.has_bias */
    memset(l->gradient, 0, (size_t)l->count * sizeof(float));
    EACH_PANEL(net, p, w) {
        const float *delta = l->delta + p * l->outputs, *in = l->input + p * l->inputs;
        if (has_bias) add_row_sums(l->outputs, w, delta, l->bias_gradient);
        if (i == 0) {
            sampled(l->outputs, l->start, l->column, delta, in, l->gradient, w);
            continue;
        }
        backward_products(l->inputs, l->in_start, l->in_row, l->weight, in, delta, l->gradient,
                          before->delta + p * l->inputs, w, bend);
        if (!bent) through_activation(net, before, p, w);
        if (net->norm == NO_NORM) continue;
        add_norm_gradients(before, p, w, before->scale_gradient, before->shift_gradient);
        if (net->norm == BATCH_NORM) continue;
        float *own = before->delta + p * l->inputs, *value = before->value + p * l->inputs;
#define TILE(n) through_layer_norm(n, before, w, own + at, value + at, before->inverse + p + at)
#if WIDE == 16
        TILES(w, TILE)
#else
        for (int64_t at = 0; at < w; at += LANES) TILE(2);
#endif
#undef TILE
    }
    if (i > 0 && net->norm == BATCH_NORM) through_batch_norm(net, before, batch);
}

/* All gradients for one batch; returns 1 where the loss is not finite. */
static int pass(Net *net, const float *x, const int32_t *y, const int64_t *rows, int64_t batch,
                int track) {
    forward(net, x, rows, batch, 1, track);
    if (softmax(net, y, rows, batch)) return 1;
    memset(net->extra_gradient, 0, (size_t)net->extras * sizeof(float));
    for (int64_t i = net->depth - 1; i >= 0; i--) layer_gradients(net, i, batch);
    return 0;
}

/* Steps -------------------------------------------------------------------------------------- */

/* One optimiser step on n parameters; net->steps counts this one. */
static void step(const Net *net, double rate, int64_t n, double decay, float *restrict w,
                 const float *restrict g, float *restrict m, float *restrict v) {
    float momentum = (float)net->momentum, fall = (float)rate;
    if (net->optimizer == ADAMW) {
        float deviation = (float)(1.0 / sqrt(1.0 - net->faded_second));
        float corrected = (float)(rate / (1.0 - net->faded_first));
        float keep = (float)(1.0 - rate * decay), past = (float)net->beta2;
        float now = (float)(1.0 - net->beta2);
        for (int64_t k = 0; k < n; k++) {
            m[k] = fused(0.1f, g[k] - m[k], m[k]);
            v[k] = fused(past, v[k], now * g[k] * g[k]);
            w[k] = fused(keep, w[k], -(corrected * m[k] / fused(sqrtf(v[k]), deviation, 1e-8f)));
        }
        return;
    }
    float coupled = net->decay_kind == COUPLED ? (float)decay : 0.0f;
    float keep = net->decay_kind == DECOUPLED     ? (float)(1.0 - rate * decay)
                 : net->decay_kind == INDEPENDENT ? (float)(1.0 - decay)
                                                  : 1.0f;
    if (net->optimizer == NESTEROV)
        for (int64_t k = 0; k < n; k++) {
            float slope = fused(coupled, w[k], g[k]);
            m[k] = fused(momentum, m[k], slope);
            w[k] = fused(-fall, fused(momentum, m[k], slope), keep * w[k]);
        }
    else
        for (int64_t k = 0; k < n; k++) {
            m[k] = fused(momentum, m[k], fused(coupled, w[k], g[k]));
            w[k] = fused(-fall, m[k], keep * w[k]);
        }
}

static void step_layer(const Net *net, int64_t i, double rate) {
    Layer *l = net->layers + i;
    if (l->factor && i > 0)
        for (int64_t k = 0; k < l->count; k++) l->gradient[k] *= l->factor[l->in_row[k]];
    else if (l->factor)
        for (int64_t o = 0; o < l->outputs; o++)
            for (int64_t k = l->start[o]; k < l->start[o + 1]; k++) l->gradient[k] *= l->factor[o];
    step(net, rate, l->count, net->decay, l->weight, l->gradient, l->first, l->second);
}

/* Optimiser steps on consecutive batches; returns 1 where a loss is not finite, else 0. */
int train(Net *net, const float *x, const int32_t *y, const int64_t *rows, const int64_t *sizes,
          const double *rates, int64_t steps) {
    unsigned before = flush_denormals();
    int diverged = 0;
    for (int64_t n = 0; n < steps; n++) {
        diverged = pass(net, x, y, rows, sizes[n], 1);
        if (diverged) break;
        net->steps++;
        net->faded_first *= 0.9;
        net->faded_second *= net->beta2;
        for (int64_t i = 0; i < net->depth; i++) step_layer(net, i, rates[n]);
        int64_t biases = net->biases;
        step(net, rates[n], biases, net->decay_biases ? net->decay : 0.0, net->extra,
             net->extra_gradient, net->extra_first, net->extra_second);
        step(net, rates[n], net->extras - biases, 0.0, net->extra + biases,
             net->extra_gradient + biases, net->extra_first + biases, net->extra_second + biases);
        rows += sizes[n];
    }
    restore_denormals(before);
    return diverged;
}

/* The optimiser's state of weights that are not there follows their gradient, without decay. */
void follow(const Net *net, const float *restrict g, int64_t n, float *restrict m,
            float *restrict v) {
    unsigned before = flush_denormals();
    float momentum = (float)net->momentum, past = (float)net->beta2;
    float now = (float)(1.0 - net->beta2);
    if (net->optimizer == ADAMW)
        for (int64_t k = 0; k < n; k++) {
            m[k] = fused(0.1f, g[k] - m[k], m[k]);
            v[k] = fused(past, v[k], now * g[k] * g[k]);
        }
    else
        for (int64_t k = 0; k < n; k++) m[k] = fused(momentum, m[k], g[k]);
    restore_denormals(before);
}

/* Fills inputs, deltas and gradients for one batch, as the next step would see them. */
int backward(Net *net, const float *x, const int32_t *y, const int64_t *rows, int64_t batch) {
    unsigned before = flush_denormals();
    int diverged = pass(net, x, y, rows, batch, 0);
    restore_denormals(before);
    return diverged;
}

/* Outputs of the network in evaluation mode, in the last layer's value. */
void evaluate(Net *net, const float *x, const int64_t *rows, int64_t batch) {
    unsigned before = flush_denormals();
    forward(net, x, rows, batch, 0, 0);
    restore_denormals(before);
}

/* Gradients of all weights ------------------------------------------------------------------- */

/* Rows and vectors of a strip of columns whose sums stay in registers. */
#if WIDE == 16
#define TALL 8
#define STRIP 3
#else
#define TALL 6
#define STRIP 2
#endif
#define COLUMNS (STRIP * WIDE)

/* Floats that the packed activations of so many inputs take. */
int64_t packed_size(int64_t inputs, int64_t samples) {
    return (inputs + COLUMNS - 1) / COLUMNS * COLUMNS * samples;
}

/* Activations (inputs, samples) as strips of columns, [strip][sample][column]: a strip lies in one
   piece, so that it stays in the level-1 cache whatever the number of inputs. */
void pack(int64_t inputs, int64_t samples, const float *from, float *out) {
    for (int64_t i = 0; i < inputs; i += COLUMNS, out += COLUMNS * samples) {
        int64_t n = inputs - i < COLUMNS ? inputs - i : COLUMNS;
        for (int64_t s = 0; s < samples; s++) {
            for (int64_t k = 0; k < n; k++) out[s * COLUMNS + k] = from[(i + k) * samples + s];
            for (int64_t k = n; k < COLUMNS; k++) out[s * COLUMNS + k] = 0.0f;
        }
    }
}

ALWAYS void dense_tile(const int rows, int64_t inputs, int64_t columns, int64_t samples,
                       const float *delta, const float *in, float *out) {
    vec sum[TALL][STRIP];
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 3
        for (int t = 0; t < STRIP; t++) sum[r][t] = (vec){};
    for (int64_t s = 0; s < samples; s++) {
        vec value[STRIP];
#pragma GCC unroll 3
        for (int t = 0; t < STRIP; t++) value[t] = load(in + s * COLUMNS + WIDE * t);
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            vec own = spread(delta[r * samples + s]);
#pragma GCC unroll 3
            for (int t = 0; t < STRIP; t++) sum[r][t] = fused_lanes(own, value[t], sum[r][t]);
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
        if (columns == COLUMNS)
#pragma GCC unroll 3
            for (int t = 0; t < STRIP; t++)
                memcpy(out + r * inputs + WIDE * t, &sum[r][t], sizeof(vec));
        else memcpy(out + r * inputs, sum[r], (size_t)columns * sizeof(float));
}

/* out[o][i] = sum of delta[o][s] * activation[i][s], sample after sample; in: packed. */
void dense_products(int64_t outputs, int64_t inputs, int64_t samples, const float *delta,
                    const float *in, float *out) {
    for (int64_t i = 0; i < inputs; i += COLUMNS, in += COLUMNS * samples) {
        int64_t columns = inputs - i < COLUMNS ? inputs - i : COLUMNS, o = 0;
        for (; o + TALL <= outputs; o += TALL)
            dense_tile(TALL, inputs, columns, samples, delta + o * samples, in, out + o * inputs + i);
        for (; o < outputs; o++)
            dense_tile(1, inputs, columns, samples, delta + o * samples, in, out + o * inputs + i);
    }
}

/* Topology ----------------------------------------------------------------------------------- */

/* CSR pattern of ascending flat positions. */
void pattern(const int64_t *positions, int64_t count, int64_t outputs, int64_t inputs,
             int64_t *start, int32_t *column) {
    int64_t row = 0, base = 0;
    start[0] = 0;
    for (int64_t k = 0; k < count; k++) {
        while (positions[k] >= base + inputs) {
            start[++row] = k;
            base += inputs;
        }
        column[k] = (int32_t)(positions[k] - base);
    }
    while (row < outputs) start[++row] = count;
}

/* The same by input neuron, and for every weight by output its place by input. */
static void transposed(int64_t outputs, int64_t inputs, const int64_t *start, const int32_t *column,
                       int64_t *in_start, int32_t *in_row, int32_t *place) {
    memset(in_start, 0, (size_t)(inputs + 1) * sizeof(int64_t));
    for (int64_t k = 0; k < start[outputs]; k++) in_start[column[k] + 1]++;
    for (int64_t i = 0; i < inputs; i++) in_start[i + 1] += in_start[i];
    for (int64_t o = 0; o < outputs; o++)
        for (int64_t k = start[o]; k < start[o + 1]; k++) {
            int64_t to = in_start[column[k]]++;
            in_row[to] = (int32_t)o;
            place[k] = (int32_t)to;
        }
    for (int64_t i = inputs; i > 0; i--) in_start[i] = in_start[i - 1];
    in_start[0] = 0;
}

/* Another set of ascending active positions for a layer: fills the arrays of the pattern, those by
   input but in the first layer, and carries over weights and state, zero where there was nothing.
   The layer still has its old arrays; `from` are its positions. `second` may be absent. */
void rewire(const Layer *l, const int64_t *from, int64_t n_from, const int64_t *to, int64_t n_to,
            int64_t *start, int32_t *column, int64_t *in_start, int32_t *in_row, int32_t *place,
            float *weight, float *first, float *second) {
    pattern(to, n_to, l->outputs, l->inputs, start, column);
    if (place) transposed(l->outputs, l->inputs, start, column, in_start, in_row, place);
    int64_t j = 0;
    for (int64_t k = 0; k < n_to; k++) {
        while (j < n_from && from[j] < to[k]) j++;
        int there = j < n_from && from[j] == to[k];
        int64_t old = there && place ? l->place[j] : j, new = place ? place[k] : k;
        weight[new] = there ? l->weight[old] : 0.0f;
        first[new] = there ? l->first[old] : 0.0f;
        if (second) second[new] = there ? l->second[old] : 0.0f;
    }
}

/* Where positions are in a set that holds them; both ascending. */
void locate(const int64_t *positions, int64_t count, const int64_t *set, int64_t n_set,
            int64_t *place) {
    int64_t j = 0;
    for (int64_t k = 0; k < count; k++) {
        while (j < n_set && set[j] < positions[k]) j++;
        place[k] = j;
    }
}

/* The best free positions so far, ascending; sparse._Best mirrors it. */
typedef struct {
    int64_t wanted, held, room, n_taken;
    float threshold, tie; /* only what is larger than the threshold enters */
    float *size, *scratch;
    int64_t *position;
    const int64_t *taken; /* ascending; may be among those held until the next look */
} Best;

/* The n-th largest (from 0) of non-negative values: their bits are in the same order as they are.
   Leaves them in disorder. */
float nth_largest(float *values, int64_t count, int64_t n) {
    uint32_t *bits = (uint32_t *)values, known = 0;
    for (int shift = 21; shift >= 0; shift -= shift > 10 ? 11 : 10) {
        int64_t number[2048] = {0}, left = 0;
        for (int64_t k = 0; k < count; k++) number[(bits[k] >> shift) & 2047]++;
        uint32_t digit = 2047;
        while (number[digit] <= n) n -= number[digit--];
        known |= digit << shift;
        for (int64_t k = 0; k < count; k++) {
            bits[left] = bits[k];
            left += ((bits[k] >> shift) & 2047) == digit;
        }
        count = left;
    }
    float found;
    memcpy(&found, &known, sizeof found);
    return found;
}

/* Takes out what is taken and keeps the wanted number of largest. Of those that differ from the
   smallest kept by less than the share `tie` of it, the lowest positions stay: at the end as many as
   there is room for, until then the wanted number, since any of them may still be among the last. */
void shrink(Best *best, int32_t at_the_end) {
    int64_t kept = 0, at = 0;
    for (int64_t k = 0; k < best->held; k++) {
        int64_t position = best->position[k];
        while (at < best->n_taken && best->taken[at] < position) at++;
        best->size[kept] = best->size[k];
        best->position[kept] = position;
        kept += at == best->n_taken || best->taken[at] != position;
    }
    best->held = kept;
    if (kept <= best->wanted) return;
    memcpy(best->scratch, best->size, (size_t)kept * sizeof(float));
    float least = nth_largest(best->scratch, kept, best->wanted - 1), margin = least * best->tie;
    float low = least - margin, high = least + margin;
    int64_t above = 0;
    for (int64_t k = 0; k < kept; k++) above += best->size[k] > high;
    int64_t ties = at_the_end ? best->wanted - above : best->wanted;
    kept = 0;
    for (int64_t k = 0; k < best->held; k++) {
        float size = best->size[k];
        int64_t tie = size >= low && size <= high && ties > 0;
        best->size[kept] = size;
        best->position[kept] = best->position[k];
        kept += size > high || tie;
        ties -= tie;
    }
    best->held = kept;
    best->threshold = low;
}

/* Offers |values| of the consecutive positions from `first`. */
static void scan(Best *best, const float *values, int64_t count, int64_t first) {
    enum { BLOCK = 2 * LANES };
    for (int64_t block = 0; block < count; block += BLOCK) {
        int64_t end = block + BLOCK < count ? block + BLOCK : count;
        if (end == block + BLOCK) {
            ints any = {};
            int64_t parts[WIDE / 2], all = 0;
            for (int t = 0; t < BLOCK / WIDE; t++) {
                vec value;
                memcpy(&value, values + block + WIDE * t, sizeof value);
                any |= value > best->threshold;
                any |= -value > best->threshold;
            }
            memcpy(parts, &any, sizeof parts);
            for (int t = 0; t < WIDE / 2; t++) all |= parts[t];
            if (!all) continue;
        }
        if (best->held + BLOCK > best->room) shrink(best, 0);
        int64_t held = best->held;
        float threshold = best->threshold;
        for (int64_t k = block; k < end; k++) {
            float size = fabsf(values[k]);
            best->size[held] = size;
            best->position[held] = first + k;
            held += size > threshold;
        }
        best->held = held;
    }
}

/* Offers the gradient of all weights, some outputs at a time, while it is in the cache; as in
   dense_products, and a buffer of at_once * inputs. */
void scan_products(Best *best, int64_t outputs, int64_t inputs, int64_t samples, const float *delta,
                   const float *in, float *buffer, int64_t at_once) {
    for (int64_t o = 0; o < outputs; o += at_once) {
        int64_t n = outputs - o < at_once ? outputs - o : at_once;
        dense_products(n, inputs, samples, delta + o * samples, in, buffer);
        scan(best, buffer, n * inputs, o * inputs);
    }
}

/* Of Layer, Net and Best, for who mirrors them. */
int64_t size_of(int32_t structure) {
    return structure == 0 ? sizeof(Layer) : structure == 1 ? sizeof(Net) : sizeof(Best);
}
