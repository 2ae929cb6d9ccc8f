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
typedef float vec8 __attribute__((vector_size(32)));
#define ALWAYS static inline __attribute__((always_inline))
#if defined(__clang__) || __GNUC__ >= 12
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#define SHUFFLE8 SHUFFLE
#else
typedef int32_t lanes __attribute__((vector_size(4 * WIDE)));
typedef int32_t lanes8 __attribute__((vector_size(32)));
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (lanes){__VA_ARGS__})
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
    float *delta;      /* gradient of the loss by the layer's weighted sums */
    float slope;
} Layer;

/* Mirrored by sparse._Net. */
typedef struct {
    Layer *layers;
    int64_t depth, padded, extras, biases, steps;
    float *extra, *extra_gradient, *extra_first, *extra_second; /* biases, then the rest */
    float *scratch;    /* room for two values a sample */
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

/* x where `sign` is positive, else slope * x. */
ALWAYS vec bend(vec x, vec sign, float slope) {
    typedef int32_t mask __attribute__((vector_size(4 * WIDE)));
    mask positive = sign > 0.0f;
    vec below = spread(slope) * x;
    return (vec)((positive & (mask)x) | (~positive & (mask)below));
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

/* Adds up n floats, a multiple of 16. */
ALWAYS float total(const float *row, int64_t n) {
    vec sum[HALVES] = {};
    for (int64_t s = 0; s < n; s += LANES)
        for (int h = 0; h < HALVES; h++) sum[h] += load(row + s + WIDE * h);
    return lanes_total(sum);
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

/* e^x to float accuracy, in a form that compilers vectorise; 0 below -87. What is not a number stays
   so, but must not become an integer on the way. */
ALWAYS float exponential(float x) {
    float bounded = x > 88.0f ? 88.0f : x > -87.0f ? x : -87.0f;
    float shifted = fused(bounded, 1.44269504f, 12582912.0f); /* rounds to an integer in the mantissa */
    float whole = shifted - 12582912.0f;
    float rest = fused(whole, 2.12194440e-4f, fused(whole, -0.693359375f, bounded));
    float power = 1.9875691500e-4f;
    power = fused(power, rest, 1.3981999507e-3f);
    power = fused(power, rest, 8.3334519073e-3f);
    power = fused(power, rest, 4.1665795894e-2f);
    power = fused(power, rest, 1.6666665459e-1f);
    power = fused(power, rest, 5.0000001201e-1f);
    power = fused(power * rest, rest, rest) + 1.0f;
    union { float f; int32_t i; } two = {.i = ((int32_t)whole + 127) << 23};
    float value = x < -87.0f ? 0.0f : power * two.f;
    return x == x ? value : x;
}

/* Normal distribution function; Abramowitz & Stegun 7.1.26, to 1.5e-7. density: e^(-x^2 / 2). */
ALWAYS float normal_below(float x, float density) {
    float size = fabsf(x) * 0.70710678f;
    float t = 1.0f / fused(0.3275911f, size, 1.0f);
    float tail = fused(fused(fused(fused(1.061405429f, t, -1.453152027f), t, 1.421413741f), t,
                             -0.284496736f), t, 0.254829592f);
    tail = tail * t * density * 0.5f;
    return x < 0.0f ? tail : 1.0f - tail;
}

ALWAYS uint32_t mix(uint32_t x) {
    x ^= x >> 16;
    x *= 0x7feb352du;
    x ^= x >> 15;
    x *= 0x846ca68bu;
    return x ^ (x >> 16);
}

/* Sparse products ---------------------------------------------------------------------------- */

/* Sums in registers: runs `call` for 4, 2 or 1 times 16 samples until all are done. */
#define TILES(samples, call)                                           \
    for (int64_t left = (samples) / LANES, at = 0; left > 0;) {        \
        int64_t width = left >= 4 ? 4 : left >= 2 ? 2 : 1;             \
        if (width == 4) call(4);                                       \
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
    vec sums = fold_lanes(quarter[0], quarter[1]);
#if WIDE == 16
    sums = fold_lanes(sums, sums);
#endif
    vec8 eight;
    memcpy(&eight, &sums, sizeof eight);
    return eight;
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

/* sum, times the slope where the row is not positive. */
ALWAYS void store_half(const int width, int half, const float *row, const vec *sum, float slope,
                       float *to) {
#pragma GCC unroll 4
    for (int t = 0; t < width; t++) {
        int64_t at = LANES * t + WIDE * half;
        *(vec *)(to + at) = bend(sum[t], load(row + at), slope);
    }
}

/* The same for all weights of a row of `width` times 16 samples. If `to` is given it gets the sum of
   weight * from, times the slope where the row is not positive. */
ALWAYS void row_products(const int width, int64_t count, const int32_t *index, const float *weight,
                         const float *row, const float *from, int64_t samples, float *out,
                         float *to, float slope) {
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
    store_half(width, 0, row, first, slope, to);
    if (HALVES == 2) store_half(width, 1, row, second, slope, to);
}

ALWAYS void sampled_tile(const int width, int64_t rows, const int64_t *start, const int32_t *column,
                         const float *delta, const float *in, float *out, int64_t samples) {
    for (int64_t row = 0; row < rows; row++) {
        int64_t k = start[row];
        row_products(width, start[row + 1] - k, column + k, NULL, delta + row * samples, in,
                     samples, out + k, NULL, 1.0f);
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
                          float *gradient, float *out, int64_t samples, float slope) {
    for (int64_t row = 0; row < rows; row++) {
        int64_t k = start[row];
        row_products(width, start[row + 1] - k, index + k, weight + k, in + row * samples, delta,
                     samples, gradient + k, out + row * samples, slope);
    }
}

/* Both gradients of a layer over one panel, by input neuron: out[row] = sum of weight * delta[index],
   times the slope where in[row] is not positive, and gradient[k] += in[row] . delta[index[k]];
   gradient has room for 8 more. */
static void backward_products(int64_t rows, const int64_t *start, const int32_t *index,
                              const float *weight, const float *in, const float *delta,
                              float *gradient, float *out, int64_t samples, float slope) {
#define TILE(w) backward_tile(w, rows, start, index, weight, in + at, delta + at, gradient, out + at, \
                              samples, slope)
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

/* Per neuron; in evaluation with the running statistics. */
static void batch_norm(const Net *net, Layer *l, int64_t batch, int training, int track) {
    for (int64_t o = 0; o < l->outputs; o++) {
        float mean = l->mean[o], variance = l->variance[o];
        if (training) {
            double sum = 0.0, squares = 0.0;
            EACH_PANEL(net, p, w) {
                const float *z = l->value + p * l->outputs + o * w;
                for (int64_t s = 0; s < w && p + s < batch; s++) sum += z[s];
            }
            mean = (float)(sum / (double)batch);
            EACH_PANEL(net, p, w) {
                const float *z = l->value + p * l->outputs + o * w;
                for (int64_t s = 0; s < w && p + s < batch; s++)
                    squares += ((double)z[s] - mean) * (z[s] - mean);
            }
            variance = (float)(squares / (double)batch);
            if (track) {
                /* One row alone is its own mean, and its variance counts as zero. */
                float unbiased = (float)(squares / (double)(batch > 1 ? batch - 1 : 1));
                l->mean[o] += 0.1f * (mean - l->mean[o]);
                l->variance[o] += 0.1f * (unbiased - l->variance[o]);
            }
        }
        float inverse = 1.0f / sqrtf(variance + 1e-5f);
        l->inverse[o] = inverse;
        EACH_PANEL(net, p, w) {
            float *z = l->value + p * l->outputs + o * w;
            for (int64_t s = 0; s < w; s++) z[s] = (z[s] - mean) * inverse;
        }
    }
}

/* Per sample. */
static void layer_norm(const Net *net, Layer *l) {
    float share = 1.0f / (float)l->outputs;
    EACH_PANEL(net, p, w) {
        float *restrict mean = net->scratch, *restrict square = net->scratch + w;
        float *restrict inverse = l->inverse + p, *values = l->value + p * l->outputs;
        memset(mean, 0, 2 * (size_t)w * sizeof(float));
        for (int64_t o = 0; o < l->outputs; o++)
            for (int64_t s = 0; s < w; s++) mean[s] = fused(share, values[o * w + s], mean[s]);
        for (int64_t o = 0; o < l->outputs; o++)
            for (int64_t s = 0; s < w; s++) {
                float away = values[o * w + s] - mean[s];
                square[s] = fused(share * away, away, square[s]);
            }
        for (int64_t s = 0; s < w; s++) inverse[s] = 1.0f / sqrtf(square[s] + 1e-5f);
        for (int64_t o = 0; o < l->outputs; o++)
            for (int64_t s = 0; s < w; s++)
                values[o * w + s] = (values[o * w + s] - mean[s]) * inverse[s];
    }
}

/* Activations of one neuron from what stands before; scale and shift are 1 and 0 without norm. */
static void activate(const Net *net, const Layer *l, int64_t o, int64_t n, const float *restrict z,
                     float *restrict out) {
    float scale = l->scale ? l->scale[o] : 1.0f, shift = l->shift ? l->shift[o] : 0.0f;
    if (net->activation == GELU) {
        for (int64_t s = 0; s < n; s++) {
            float y = fused(scale, z[s], shift);
            out[s] = y * normal_below(y, exponential(-0.5f * y * y));
        }
    } else if (net->activation == SRELU) {
        float tl = l->srelu[o], al = l->srelu[l->outputs + o];
        float tr = l->srelu[2 * l->outputs + o], ar = l->srelu[3 * l->outputs + o];
        for (int64_t s = 0; s < n; s++) {
            float y = fused(scale, z[s], shift);
            float low = fused(al, y - tl, tl), high = fused(ar, y - tr, tr);
            float upper = y >= tr ? high : y;
            out[s] = y <= tl ? low : upper;
        }
    } else {
        float slope = l->slope;
        for (int64_t s = 0; s < n; s++) {
            float y = fused(scale, z[s], shift), below = slope * y;
            out[s] = y > 0.0f ? y : below;
        }
    }
}

/* Does the product that makes the layer's sums bend them at once? Their sign must survive. */
static int bends(const Net *net, const Layer *l) {
    return net->activation == LINEAR_PIECES && net->norm == NO_NORM && l->slope >= 0.0f;
}

/* Do all neurons of a layer have the same activation? */
static int alike(const Net *net, const Layer *l) { return !l->scale && net->activation != SRELU; }

/* Multiplies a hidden layer's activations by their dropout masks and 1 / (1 - rate). */
static void drop(const Net *net, int64_t layer, int64_t batch, float *values) {
    if (net->dropout == 0.0) return;
    uint32_t key = mix(mix(mix(net->seed) ^ (uint32_t)net->steps) ^ (uint32_t)layer);
    uint32_t threshold = (uint32_t)llrint(net->dropout * 4294967296.0);
    float kept = (float)(1.0 / (1.0 - net->dropout));
    int64_t outputs = net->layers[layer].outputs;
    EACH_PANEL(net, p, w)
        for (int64_t o = 0; o < outputs; o++) {
            float *row = values + p * outputs + o * w;
            uint32_t first = (uint32_t)(o * batch + p);
            for (int64_t s = 0; s < w; s++)
                row[s] *= mix((first + (uint32_t)s) ^ key) >= threshold ? kept : 0.0f;
        }
}

static void forward(Net *net, const float *x, const int64_t *rows, int64_t batch, int training,
                    int track) {
    net->padded = (batch + 15) / 16 * 16;
    gather(net, x, rows, batch);
    for (int64_t i = 0; i < net->depth; i++) {
        Layer *l = net->layers + i;
        const float *weight = l->weight;
        if (i > 0) {
            for (int64_t k = 0; k < l->count; k++) l->by_output[k] = l->weight[l->place[k]];
            weight = l->by_output;
        }
        int inner = i + 1 < net->depth, bent = inner && bends(net, l);
        float *out = bent ? l[1].input : l->value;
        EACH_PANEL(net, p, w)
            product(l->outputs, l->start, l->column, weight, l->bias, l->input + p * l->inputs,
                    out + p * l->outputs, w, bent ? l->slope : 1.0f);
        if (!inner) return;
        if (net->norm == BATCH_NORM) batch_norm(net, l, batch, training, track);
        if (net->norm == LAYER_NORM) layer_norm(net, l);
        if (bent) {
        } else if (alike(net, l)) {
            activate(net, l, 0, l->outputs * net->padded, l->value, l[1].input);
        } else EACH_PANEL(net, p, w)
            for (int64_t o = 0; o < l->outputs; o++) {
                int64_t at = p * l->outputs + o * w;
                activate(net, l, o, w, l->value + at, l[1].input + at);
            }
        if (training) drop(net, i, batch, l[1].input);
    }
}

/* Backward ----------------------------------------------------------------------------------- */

/* Delta of the output layer; returns the mean loss. */
static double softmax(const Net *net, const int32_t *y, const int64_t *rows, int64_t batch) {
    Layer *l = net->layers + net->depth - 1;
    int64_t classes = l->outputs;
    double loss = 0.0;
    float everywhere = (float)(net->smoothing / (double)(classes * batch));
    float target = (float)((1.0 - net->smoothing) / (double)batch);
    EACH_PANEL(net, p, w) {
        const float *restrict value = l->value + p * classes;
        float *restrict delta = l->delta + p * classes;
        float *restrict top = net->scratch, *restrict sum = net->scratch + w;
        memcpy(top, value, (size_t)w * sizeof(float));
        memset(sum, 0, (size_t)w * sizeof(float));
        for (int64_t c = 1; c < classes; c++)
            for (int64_t s = 0; s < w; s++) {
                float z = value[c * w + s], before = top[s];
                top[s] = z > before ? z : before;
            }
        for (int64_t c = 0; c < classes; c++)
            for (int64_t s = 0; s < w; s++) {
                float power = exponential(value[c * w + s] - top[s]);
                delta[c * w + s] = power;
                sum[s] += power;
            }
        int64_t real = batch - p < w ? batch - p : w;
        for (int64_t s = 0; s < real; s++) {
            double spread = 0.0, own = value[y[rows[p + s]] * w + s];
            if (net->smoothing > 0.0)
                for (int64_t c = 0; c < classes; c++) spread += value[c * w + s];
            loss += (double)top[s] + log((double)sum[s]) - (1.0 - net->smoothing) * own
                  - net->smoothing * spread / (double)classes;
            sum[s] = 1.0f / (sum[s] * (float)batch);
        }
        for (int64_t s = real; s < w; s++) sum[s] = 0.0f;
        for (int64_t c = 0; c < classes; c++) {
            for (int64_t s = 0; s < w; s++) delta[c * w + s] *= sum[s];
            if (net->smoothing > 0.0)
                for (int64_t s = 0; s < real; s++) delta[c * w + s] -= everywhere;
        }
        for (int64_t s = 0; s < real; s++) delta[y[rows[p + s]] * w + s] -= target;
    }
    return loss / (double)batch;
}

/* Turns the gradient by a neuron's activations into that by its (normalised) pre-activations. */
static void through_activation(const Net *net, Layer *l, int64_t o, int64_t n,
                               const float *restrict z, float *restrict d) {
    float scale = l->scale ? l->scale[o] : 1.0f, shift = l->shift ? l->shift[o] : 0.0f;
    if (net->activation == GELU) {
        for (int64_t s = 0; s < n; s++) {
            float y = fused(scale, z[s], shift), density = exponential(-0.5f * y * y);
            d[s] *= fused(y * density, 0.39894228f, normal_below(y, density));
        }
    } else if (net->activation == SRELU) {
        float tl = l->srelu[o], al = l->srelu[l->outputs + o];
        float tr = l->srelu[2 * l->outputs + o], ar = l->srelu[3 * l->outputs + o];
        float left = 0.0f, left_slope = 0.0f, right = 0.0f, right_slope = 0.0f;
        for (int64_t s = 0; s < n; s++) {
            float y = fused(scale, z[s], shift), own = d[s];
            if (y <= tl) {
                left += own * (1.0f - al);
                left_slope += own * (y - tl);
                d[s] = own * al;
            } else if (y >= tr) {
                right += own * (1.0f - ar);
                right_slope += own * (y - tr);
                d[s] = own * ar;
            }
        }
        l->srelu_gradient[o] += left;
        l->srelu_gradient[l->outputs + o] += left_slope;
        l->srelu_gradient[2 * l->outputs + o] += right;
        l->srelu_gradient[3 * l->outputs + o] += right_slope;
    } else {
        float slope = l->slope;
        for (int64_t s = 0; s < n; s++) {
            float own = d[s], below = slope * own;
            d[s] = fused(scale, z[s], shift) > 0.0f ? own : below;
        }
    }
}

static void through_batch_norm(const Net *net, Layer *l, int64_t batch) {
    for (int64_t o = 0; o < l->outputs; o++) {
        float sum = 0.0f, along = 0.0f;
        EACH_PANEL(net, p, w) {
            const float *d = l->delta + p * l->outputs + o * w;
            const float *z = l->value + p * l->outputs + o * w;
            vec part[HALVES] = {}, product[HALVES] = {};
            for (int64_t s = 0; s < w; s += LANES)
                for (int h = 0; h < HALVES; h++) {
                    vec own = load(d + s + WIDE * h);
                    part[h] += own;
                    product[h] = fused_lanes(own, load(z + s + WIDE * h), product[h]);
                }
            sum += lanes_total(part);
            along += lanes_total(product);
        }
        l->shift_gradient[o] = sum;
        l->scale_gradient[o] = along;
        float factor = l->scale[o] * l->inverse[o], mean = sum / (float)batch;
        float slope = along / (float)batch;
        EACH_PANEL(net, p, w) {
            float *restrict d = l->delta + p * l->outputs + o * w;
            const float *restrict z = l->value + p * l->outputs + o * w;
            int64_t real = batch - p < w ? batch - p : w; /* padded deltas stay zero */
            for (int64_t s = 0; s < real; s++)
                d[s] = factor * fused(-z[s], slope, d[s] - mean);
        }
    }
}

static void through_layer_norm(const Net *net, Layer *l) {
    float share = 1.0f / (float)l->outputs;
    EACH_PANEL(net, p, w) {
        float *restrict mean = net->scratch, *restrict slope = net->scratch + w;
        float *restrict deltas = l->delta + p * l->outputs;
        const float *restrict values = l->value + p * l->outputs, *inverse = l->inverse + p;
        memset(mean, 0, 2 * (size_t)w * sizeof(float));
        for (int64_t o = 0; o < l->outputs; o++) {
            const float *restrict z = values + o * w;
            float *restrict d = deltas + o * w, scale = l->scale[o];
            float along = 0.0f;
            for (int64_t s = 0; s < w; s++) along = fused(d[s], z[s], along);
            l->shift_gradient[o] += total(d, w);
            l->scale_gradient[o] += along;
            for (int64_t s = 0; s < w; s++) {
                d[s] *= scale;
                mean[s] = fused(share, d[s], mean[s]);
                slope[s] = fused(share * d[s], z[s], slope[s]);
            }
        }
        for (int64_t o = 0; o < l->outputs; o++)
            for (int64_t s = 0; s < w; s++)
                deltas[o * w + s] = inverse[s] * fused(-values[o * w + s], slope[s],
                                                       deltas[o * w + s] - mean[s]);
    }
}

/* Gradients of a layer by its weights and biases, and the delta of the layer before. */
static void layer_gradients(const Net *net, int64_t i, int64_t batch) {
    Layer *l = net->layers + i, *before = l - 1;
    int bent = i > 0 && bends(net, before);
    int has_bias = net->norm != BATCH_NORM || i + 1 == net->depth; /* networks.has_bias */
    memset(l->gradient, 0, (size_t)l->count * sizeof(float));
    EACH_PANEL(net, p, w) {
        const float *delta = l->delta + p * l->outputs, *in = l->input + p * l->inputs;
        for (int64_t o = 0; has_bias && o < l->outputs; o++)
            l->bias_gradient[o] += total(delta + o * w, w);
        if (i == 0) sampled(l->outputs, l->start, l->column, delta, in, l->gradient, w);
        else backward_products(l->inputs, l->in_start, l->in_row, l->weight, in, delta, l->gradient,
                               before->delta + p * l->inputs, w, bent ? before->slope : 1.0f);
    }
    if (i == 0) return;
    drop(net, i - 1, batch, before->delta);
    if (bent) return;
    if (alike(net, before))
        through_activation(net, before, 0, before->outputs * net->padded, before->value,
                           before->delta);
    else EACH_PANEL(net, p, w)
        for (int64_t o = 0; o < before->outputs; o++) {
            int64_t at = p * before->outputs + o * w;
            through_activation(net, before, o, w, before->value + at, before->delta + at);
        }
    if (net->norm == BATCH_NORM) through_batch_norm(net, before, batch);
    if (net->norm == LAYER_NORM) through_layer_norm(net, before);
}

/* All gradients for one batch; returns 1 where the loss is not finite. */
static int pass(Net *net, const float *x, const int32_t *y, const int64_t *rows, int64_t batch,
                int track) {
    forward(net, x, rows, batch, 1, track);
    if (!isfinite(softmax(net, y, rows, batch))) return 1;
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

ALWAYS void dense_tile(const int rows, const int width, int64_t inputs, int64_t samples,
                       const float *delta, int64_t stride, const float *in, float *out) {
    vec sum[TALL][STRIP];
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 3
        for (int t = 0; t < width; t++) sum[r][t] = (vec){};
    for (int64_t s = 0; s < samples; s++) {
        vec value[STRIP];
#pragma GCC unroll 3
        for (int t = 0; t < width; t++) memcpy(value + t, in + s * inputs + WIDE * t, sizeof(vec));
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            vec own = spread(delta[r * stride + s]);
#pragma GCC unroll 3
            for (int t = 0; t < width; t++) sum[r][t] = fused_lanes(own, value[t], sum[r][t]);
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 3
        for (int t = 0; t < width; t++)
            memcpy(out + r * inputs + WIDE * t, &sum[r][t], sizeof(vec));
}

ALWAYS void dense_strip(const int width, int64_t outputs, int64_t inputs, int64_t samples,
                        const float *delta, int64_t stride, const float *in, float *out) {
    int64_t o = 0;
    for (; o + TALL <= outputs; o += TALL)
        dense_tile(TALL, width, inputs, samples, delta + o * stride, stride, in, out + o * inputs);
    for (; o < outputs; o++)
        dense_tile(1, width, inputs, samples, delta + o * stride, stride, in, out + o * inputs);
}

/* out[o][i] = sum of delta[o][s] * in[s][i], sample after sample; rows of delta are `stride` apart. */
void dense_products(int64_t outputs, int64_t inputs, int64_t samples, const float *delta,
                    int64_t stride, const float *in, float *out) {
    int64_t i = 0;
    for (; i + STRIP * WIDE <= inputs; i += STRIP * WIDE)
        dense_strip(STRIP, outputs, inputs, samples, delta, stride, in + i, out + i);
    for (; i + WIDE <= inputs; i += WIDE)
        dense_strip(1, outputs, inputs, samples, delta, stride, in + i, out + i);
    if (i == inputs) return;
    if (inputs >= WIDE) { /* some of the columns before once more */
        i = inputs - WIDE;
        dense_strip(1, outputs, inputs, samples, delta, stride, in + i, out + i);
        return;
    }
    for (int64_t o = 0; o < outputs; o++)
        for (int64_t k = 0; k < inputs; k++) {
            float sum = 0.0f;
            for (int64_t s = 0; s < samples; s++)
                sum = fused(delta[o * stride + s], in[s * inputs + k], sum);
            out[o * inputs + k] = sum;
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
void transposed(int64_t outputs, int64_t inputs, const int64_t *start, const int32_t *column,
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

/* Carries values from one ascending set of positions to another, zero where there was none. */
void carry(const int64_t *from, int64_t n_from, const float *old, const int64_t *to, int64_t n_to,
           float *out) {
    int64_t j = 0;
    for (int64_t k = 0; k < n_to; k++) {
        while (j < n_from && from[j] < to[k]) j++;
        out[k] = j < n_from && from[j] == to[k] ? old[j] : 0.0f;
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

/* The n-th largest (from 0) of non-negative values: their bits are in the same order as they are. */
static float nth_largest(float *values, int64_t count, int64_t n) {
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
void scan(Best *best, const float *values, int64_t count, int64_t first) {
    typedef int32_t mask __attribute__((vector_size(4 * WIDE)));
    enum { BLOCK = 2 * LANES };
    for (int64_t block = 0; block < count; block += BLOCK) {
        int64_t end = block + BLOCK < count ? block + BLOCK : count;
        if (end == block + BLOCK) {
            mask any = {};
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

/* Of Layer, Net and Best, for who mirrors them. */
int64_t size_of(int32_t structure) {
    return structure == 0 ? sizeof(Layer) : structure == 1 ? sizeof(Net) : sizeof(Best);
}
