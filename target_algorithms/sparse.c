/* Truly sparse training of multi-layer perceptrons: the loops of sparse.py, one thread.

   Weights, gradients and optimiser state exist for active weights only, by output neuron (CSR); the
   gradient by the activations walks the same weights by input neuron (CSC with the place of every
   weight). Activations and deltas are features-major, [neurons][batch], so that each weight touches
   contiguous samples. Batches are padded to 16 columns; padded deltas are zero, so padding enters
   no gradient. Formulas: cross entropy of a softmax, backpropagation; the optimisers are those that
   masked.py writes out, the dropout hash is networks.dropout_keep. */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

/* Vectors as wide as the machine's registers; all buffers are aligned to and padded by 16 floats. */
#if defined(__AVX512F__)
#define WIDE 16
#else
#define WIDE 8
#endif
typedef float vec __attribute__((vector_size(4 * WIDE)));
typedef int32_t lanes __attribute__((vector_size(4 * WIDE)));
#define ALWAYS static inline __attribute__((always_inline))
#if defined(__clang__) || __GNUC__ >= 12
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (lanes){__VA_ARGS__})
#endif

enum { HEAVY_BALL, NESTEROV, ADAMW };
enum { COUPLED, DECOUPLED, INDEPENDENT };
enum { LINEAR_PIECES, SRELU, GELU };
enum { NO_NORM, BATCH_NORM, LAYER_NORM };

/* Mirrored by sparse.Layer, field by field. */
typedef struct {
    int64_t outputs, inputs, count;
    int64_t *start;    /* CSR: weights of output o are start[o] .. start[o + 1] */
    int32_t *column;
    int64_t *in_start; /* CSC, absent for the first layer */
    int32_t *in_row, *in_place;
    float *weight, *first, *second, *gradient;
    float *factor;     /* of the gradient, per output; or NULL */
    float *bias, *bias_gradient;
    float *scale, *scale_gradient, *shift, *shift_gradient; /* normalisation */
    float *mean, *variance;                                 /* running */
    float *inverse;    /* 1 / deviation, per output (batch) or sample (layer) */
    float *srelu, *srelu_gradient;                          /* [4][outputs] */
    float *input;      /* [inputs][padded] */
    float *value;      /* before the activation; normalised, before scale and shift */
    float *delta;      /* gradient of the loss by the layer's weighted sums */
    float slope;
} Layer;

/* Mirrored by sparse.Net. */
typedef struct {
    Layer *layers;
    int64_t depth, padded, extras, biases, steps;
    float *extra, *extra_gradient, *extra_first, *extra_second; /* biases, then the rest */
    int32_t optimizer, decay_kind, decay_biases, activation, norm;
    uint32_t seed;
    double momentum, beta2, decay, dropout, smoothing;
} Net;

/* Small things ------------------------------------------------------------------------------- */

ALWAYS vec load(const float *from) { return *(const vec *)from; }

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

/* e^x to float accuracy, in a form that compilers vectorise; 0 below -87. */
ALWAYS float exponential(float x) {
    float bounded = x < -87.0f ? -87.0f : x > 88.0f ? 88.0f : x;
    float shifted = bounded * 1.44269504f + 12582912.0f; /* rounds to an integer in the mantissa */
    float whole = shifted - 12582912.0f;
    float rest = bounded - whole * 0.693359375f + whole * 2.12194440e-4f;
    float power = 1.9875691500e-4f;
    power = power * rest + 1.3981999507e-3f;
    power = power * rest + 8.3334519073e-3f;
    power = power * rest + 4.1665795894e-2f;
    power = power * rest + 1.6666665459e-1f;
    power = power * rest + 5.0000001201e-1f;
    power = power * rest * rest + rest + 1.0f;
    union { float f; int32_t i; } two = {.i = ((int32_t)whole + 127) << 23};
    return x < -87.0f ? 0.0f : power * two.f;
}

/* Normal distribution function; Abramowitz & Stegun 7.1.26, to 1.5e-7. density: e^(-x^2 / 2). */
ALWAYS float normal_below(float x, float density) {
    float size = fabsf(x) * 0.70710678f;
    float t = 1.0f / (1.0f + 0.3275911f * size);
    float tail = ((((1.061405429f * t - 1.453152027f) * t + 1.421413741f) * t - 0.284496736f) * t
                  + 0.254829592f) * t * density * 0.5f;
    return x < 0.0f ? tail : 1.0f - tail;
}

ALWAYS uint32_t mix(uint32_t x) {
    x ^= x >> 16;
    x *= 0x7feb352du;
    x ^= x >> 15;
    x *= 0x846ca68bu;
    return x ^ (x >> 16);
}

static uint32_t dropout_key(const Net *net, int64_t layer) {
    return mix(mix(mix(net->seed) ^ (uint32_t)net->steps) ^ (uint32_t)layer);
}

/* Multiplies a row by its dropout mask and 1 / (1 - rate). */
static void drop(const Net *net, uint32_t key, int64_t neuron, int64_t batch, float *row) {
    uint32_t threshold = (uint32_t)llrint(net->dropout * 4294967296.0);
    float kept = (float)(1.0 / (1.0 - net->dropout));
    uint32_t first = (uint32_t)(neuron * batch);
    for (int64_t s = 0; s < batch; s++)
        row[s] *= mix((first + (uint32_t)s) ^ key) >= threshold ? kept : 0.0f;
}

/* Sparse products ---------------------------------------------------------------------------- */

/* Sums in registers: 8 vectors a tile. Runs `call` with a constant width for as many as are left. */
#define TILES(padded, call)                                   \
    for (int64_t left = (padded) / WIDE, at = 0; left > 0;) { \
        int64_t width = left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1; \
        if (width == 8) call(8);                              \
        else if (width == 4) call(4);                         \
        else if (width == 2) call(2);                         \
        else call(1);                                         \
        at += width * WIDE;                                   \
        left -= width;                                        \
    }

ALWAYS void product_tile(const int width, int64_t rows, const int64_t *start, const int32_t *index,
                         const int32_t *place, const float *weight, const float *bias,
                         const float *in, float *out, int64_t padded) {
    for (int64_t row = 0; row < rows; row++) {
        vec sum[8];
        float begin = bias ? bias[row] : 0.0f;
#pragma GCC unroll 8
        for (int t = 0; t < width; t++) sum[t] = (vec){} + begin;
        for (int64_t k = start[row]; k < start[row + 1]; k++) {
            const float *from = in + index[k] * padded;
            float w = weight[place ? place[k] : k];
#pragma GCC unroll 8
            for (int t = 0; t < width; t++) sum[t] += w * load(from + WIDE * t);
        }
#pragma GCC unroll 8
        for (int t = 0; t < width; t++) *(vec *)(out + row * padded + WIDE * t) = sum[t];
    }
}

/* out[row] = bias[row] + sum of weight * in[index], all [..][padded]. */
static void product(int64_t rows, const int64_t *start, const int32_t *index, const float *weight,
                    const float *bias, const float *in, float *out, int64_t padded) {
#define TILE(w) product_tile(w, rows, start, index, NULL, weight, bias, in + at, out + at, padded)
    TILES(padded, TILE)
#undef TILE
}

/* The same for weights that are kept elsewhere: the k-th is weight[place[k]]. */
static void product_placed(int64_t rows, const int64_t *start, const int32_t *index,
                           const int32_t *place, const float *weight, const float *in, float *out,
                           int64_t padded) {
#define TILE(w) product_tile(w, rows, start, index, place, weight, NULL, in + at, out + at, padded)
    TILES(padded, TILE)
#undef TILE
}

/* Sums of several vectors, one in each lane: neighbours are folded together until one is left. */
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
/* Sums of four vectors in the first four lanes. */
ALWAYS vec four_sums(vec a, vec b, vec c, vec d) {
    vec quarters = fold_singles(fold_pairs(a, b), fold_pairs(c, d));
    vec halves = fold_lanes(quarters, quarters);
    return fold_lanes(halves, halves);
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
ALWAYS vec four_sums(vec a, vec b, vec c, vec d) {
    vec halves = fold_singles(fold_pairs(a, b), fold_pairs(c, d));
    return fold_lanes(halves, halves);
}
#endif

ALWAYS vec dot(const int width, const vec *delta, const float *from) {
    vec sum = delta[0] * load(from);
#pragma GCC unroll 8
    for (int t = 1; t < width; t++) sum += delta[t] * load(from + WIDE * t);
    return sum;
}

ALWAYS void sampled_tile(const int width, int64_t rows, const int64_t *start, const int32_t *column,
                         const float *delta, const float *in, float *out, int64_t padded) {
    for (int64_t row = 0; row < rows; row++) {
        vec own[8];
#pragma GCC unroll 8
        for (int t = 0; t < width; t++) own[t] = load(delta + row * padded + WIDE * t);
        int64_t k = start[row], end = start[row + 1];
#define DOT(j) dot(width, own, in + column[k + (j)] * padded)
        for (; k + 4 <= end; k += 4) {
            vec sums = four_sums(DOT(0), DOT(1), DOT(2), DOT(3));
            for (int j = 0; j < 4; j++) out[k + j] += sums[j];
        }
        if (k < end) {
            int64_t last = end - k - 1;
            vec sums = four_sums(DOT(0), DOT(last > 1 ? 1 : last), DOT(last > 2 ? 2 : last),
                                 (vec){});
            for (int j = 0; j <= last; j++) out[k + j] += sums[j];
        }
#undef DOT
    }
}

/* out[k] = delta[row] . in[column[k]] for the positions of a CSR pattern. */
void sampled(int64_t rows, int64_t count, const int64_t *start, const int32_t *column,
             const float *delta, const float *in, float *out, int64_t padded) {
    memset(out, 0, (size_t)count * sizeof(float));
#define TILE(w) sampled_tile(w, rows, start, column, delta + at, in + at, out, padded)
    TILES(padded, TILE)
#undef TILE
}

/* Forward ------------------------------------------------------------------------------------ */

/* Rows of the data as columns of the first activations. */
static void gather(const float *x, int64_t features, const int64_t *rows, int64_t batch,
                   int64_t padded, float *out) {
    for (int64_t f = 0; f < features; f += 16) {
        int64_t wide = features - f < 16 ? features - f : 16;
        for (int64_t s = 0; s < batch; s++) {
            const float *from = x + rows[s] * features + f;
            for (int64_t j = 0; j < wide; j++) out[(f + j) * padded + s] = from[j];
        }
        for (int64_t j = 0; j < wide; j++)
            for (int64_t s = batch; s < padded; s++) out[(f + j) * padded + s] = 0.0f;
    }
}

static void batch_norm(Layer *l, int64_t batch, int64_t padded, int training, int track) {
    for (int64_t o = 0; o < l->outputs; o++) {
        float *z = l->value + o * padded, mean = l->mean[o], variance = l->variance[o];
        if (training) {
            double sum = 0.0, squares = 0.0;
            for (int64_t s = 0; s < batch; s++) sum += z[s];
            mean = (float)(sum / (double)batch);
            for (int64_t s = 0; s < batch; s++) squares += ((double)z[s] - mean) * (z[s] - mean);
            variance = (float)(squares / (double)batch);
            if (track) {
                float unbiased = (float)(squares / (double)(batch > 1 ? batch - 1 : 1));
                l->mean[o] += 0.1f * (mean - l->mean[o]);
                l->variance[o] += 0.1f * (unbiased - l->variance[o]);
            }
        }
        float inverse = 1.0f / sqrtf(variance + 1e-5f);
        l->inverse[o] = inverse;
        for (int64_t s = 0; s < padded; s++) z[s] = (z[s] - mean) * inverse;
    }
}

static void layer_norm(Layer *l, int64_t padded) {
    float *sum = calloc((size_t)padded * 2, sizeof(float)), *square = sum + padded;
    float share = 1.0f / (float)l->outputs;
    for (int64_t o = 0; o < l->outputs; o++)
        for (int64_t s = 0; s < padded; s++) sum[s] += share * l->value[o * padded + s];
    for (int64_t o = 0; o < l->outputs; o++)
        for (int64_t s = 0; s < padded; s++) {
            float away = l->value[o * padded + s] - sum[s];
            square[s] += share * away * away;
        }
    for (int64_t s = 0; s < padded; s++) l->inverse[s] = 1.0f / sqrtf(square[s] + 1e-5f);
    for (int64_t o = 0; o < l->outputs; o++)
        for (int64_t s = 0; s < padded; s++)
            l->value[o * padded + s] = (l->value[o * padded + s] - sum[s]) * l->inverse[s];
    free(sum);
}

/* Activations of one neuron from what stands before; scale and shift are 1 and 0 without norm. */
static void activate(const Net *net, const Layer *l, int64_t o, const float *z, float *out) {
    float scale = l->scale ? l->scale[o] : 1.0f, shift = l->shift ? l->shift[o] : 0.0f;
    int64_t n = net->padded;
    if (net->activation == GELU) {
        for (int64_t s = 0; s < n; s++) {
            float y = scale * z[s] + shift;
            out[s] = y * normal_below(y, exponential(-0.5f * y * y));
        }
    } else if (net->activation == SRELU) {
        float tl = l->srelu[o], al = l->srelu[l->outputs + o];
        float tr = l->srelu[2 * l->outputs + o], ar = l->srelu[3 * l->outputs + o];
        for (int64_t s = 0; s < n; s++) {
            float y = scale * z[s] + shift;
            out[s] = y <= tl ? tl + al * (y - tl) : y >= tr ? tr + ar * (y - tr) : y;
        }
    } else {
        for (int64_t s = 0; s < n; s++) {
            float y = scale * z[s] + shift;
            out[s] = y > 0.0f ? y : l->slope * y;
        }
    }
}

static void forward(Net *net, const float *x, const int64_t *rows, int64_t batch, int training,
                    int track) {
    int64_t padded = net->padded;
    gather(x, net->layers[0].inputs, rows, batch, padded, net->layers[0].input);
    for (int64_t i = 0; i < net->depth; i++) {
        Layer *l = net->layers + i;
        product(l->outputs, l->start, l->column, l->weight, l->bias, l->input, l->value, padded);
        if (i + 1 == net->depth) return;
        if (net->norm == BATCH_NORM) batch_norm(l, batch, padded, training, track);
        if (net->norm == LAYER_NORM) layer_norm(l, padded);
        uint32_t key = dropout_key(net, i);
        for (int64_t o = 0; o < l->outputs; o++) {
            float *out = l[1].input + o * padded;
            activate(net, l, o, l->value + o * padded, out);
            if (training && net->dropout > 0.0) drop(net, key, o, batch, out);
        }
    }
}

/* Backward ----------------------------------------------------------------------------------- */

/* Delta of the output layer; returns the mean loss. */
static double softmax(const Net *net, const int32_t *y, const int64_t *rows, int64_t batch) {
    Layer *l = net->layers + net->depth - 1;
    int64_t padded = net->padded, classes = l->outputs;
    float *top = calloc((size_t)padded * 2, sizeof(float)), *sum = top + padded;
    memcpy(top, l->value, (size_t)padded * sizeof(float));
    for (int64_t c = 1; c < classes; c++)
        for (int64_t s = 0; s < padded; s++) {
            float z = l->value[c * padded + s];
            top[s] = z > top[s] ? z : top[s];
        }
    for (int64_t c = 0; c < classes; c++)
        for (int64_t s = 0; s < padded; s++) {
            float power = exponential(l->value[c * padded + s] - top[s]);
            l->delta[c * padded + s] = power;
            sum[s] += power;
        }
    double loss = 0.0;
    for (int64_t s = 0; s < batch; s++) {
        double spread = 0.0, own = l->value[y[rows[s]] * padded + s];
        double total = (double)top[s] + log((double)sum[s]);
        if (net->smoothing > 0.0)
            for (int64_t c = 0; c < classes; c++) spread += l->value[c * padded + s];
        loss += total - (1.0 - net->smoothing) * own - net->smoothing * spread / (double)classes;
        sum[s] = 1.0f / (sum[s] * (float)batch);
    }
    for (int64_t s = batch; s < padded; s++) sum[s] = 0.0f;
    float everywhere = (float)(net->smoothing / (double)(classes * batch));
    for (int64_t c = 0; c < classes; c++) {
        float *row = l->delta + c * padded;
        for (int64_t s = 0; s < padded; s++) row[s] *= sum[s];
        if (everywhere > 0.0f)
            for (int64_t s = 0; s < batch; s++) row[s] -= everywhere;
    }
    float target = (float)((1.0 - net->smoothing) / (double)batch);
    for (int64_t s = 0; s < batch; s++) l->delta[y[rows[s]] * padded + s] -= target;
    free(top);
    return loss / (double)batch;
}

static float total(const float *row, int64_t count) {
    vec sum = {};
    for (int64_t s = 0; s < count; s += WIDE) sum += load(row + s);
    float all = 0.0f;
    for (int j = 0; j < WIDE; j++) all += sum[j];
    return all;
}

/* Turns the gradient by a neuron's activation into that by its (normalised) pre-activation. */
static void through_activation(Net *net, Layer *l, int64_t o, float *d) {
    const float *z = l->value + o * net->padded;
    float scale = l->scale ? l->scale[o] : 1.0f, shift = l->shift ? l->shift[o] : 0.0f;
    int64_t n = net->padded;
    if (net->activation == GELU) {
        for (int64_t s = 0; s < n; s++) {
            float y = scale * z[s] + shift, density = exponential(-0.5f * y * y);
            d[s] *= normal_below(y, density) + y * density * 0.39894228f;
        }
    } else if (net->activation == SRELU) {
        float tl = l->srelu[o], al = l->srelu[l->outputs + o];
        float tr = l->srelu[2 * l->outputs + o], ar = l->srelu[3 * l->outputs + o];
        float left = 0.0f, left_slope = 0.0f, right = 0.0f, right_slope = 0.0f;
        for (int64_t s = 0; s < n; s++) {
            float y = scale * z[s] + shift, own = d[s];
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
        l->srelu_gradient[o] = left;
        l->srelu_gradient[l->outputs + o] = left_slope;
        l->srelu_gradient[2 * l->outputs + o] = right;
        l->srelu_gradient[3 * l->outputs + o] = right_slope;
    } else {
        for (int64_t s = 0; s < n; s++) d[s] *= scale * z[s] + shift > 0.0f ? 1.0f : l->slope;
    }
}

static void through_batch_norm(Layer *l, int64_t batch, int64_t padded) {
    for (int64_t o = 0; o < l->outputs; o++) {
        float *d = l->delta + o * padded, *z = l->value + o * padded;
        float sum = 0.0f, along = 0.0f;
        for (int64_t s = 0; s < batch; s++) sum += d[s], along += d[s] * z[s];
        l->shift_gradient[o] = sum;
        l->scale_gradient[o] = along;
        float factor = l->scale[o] * l->inverse[o], mean = sum / (float)batch;
        float slope = along / (float)batch;
        for (int64_t s = 0; s < batch; s++) d[s] = factor * (d[s] - mean - z[s] * slope);
        for (int64_t s = batch; s < padded; s++) d[s] = 0.0f;
    }
}

static void through_layer_norm(Layer *l, int64_t padded) {
    float *mean = calloc((size_t)padded * 2, sizeof(float)), *slope = mean + padded;
    float share = 1.0f / (float)l->outputs;
    for (int64_t o = 0; o < l->outputs; o++) {
        float *d = l->delta + o * padded, *z = l->value + o * padded;
        float sum = 0.0f, along = 0.0f;
        for (int64_t s = 0; s < padded; s++) {
            sum += d[s];
            along += d[s] * z[s];
            d[s] *= l->scale[o];
            mean[s] += share * d[s];
            slope[s] += share * d[s] * z[s];
        }
        l->shift_gradient[o] = sum;
        l->scale_gradient[o] = along;
    }
    for (int64_t o = 0; o < l->outputs; o++) {
        float *d = l->delta + o * padded, *z = l->value + o * padded;
        for (int64_t s = 0; s < padded; s++)
            d[s] = l->inverse[s] * (d[s] - mean[s] - z[s] * slope[s]);
    }
    free(mean);
}

/* Delta of a hidden layer from that of the next, whose weights have not been changed yet. */
static void hidden_delta(Net *net, int64_t i, int64_t batch) {
    Layer *l = net->layers + i, *next = l + 1;
    int64_t padded = net->padded;
    product_placed(next->inputs, next->in_start, next->in_row, next->in_place, next->weight,
                   next->delta, l->delta, padded);
    uint32_t key = dropout_key(net, i);
    for (int64_t o = 0; o < l->outputs; o++) {
        float *d = l->delta + o * padded;
        if (net->dropout > 0.0) drop(net, key, o, batch, d);
        through_activation(net, l, o, d);
    }
    if (net->norm == BATCH_NORM) through_batch_norm(l, batch, padded);
    if (net->norm == LAYER_NORM) through_layer_norm(l, padded);
}

/* Steps -------------------------------------------------------------------------------------- */

/* One optimiser step on n parameters; net->steps counts this one. */
static void step(const Net *net, double rate, int64_t n, double decay, float *restrict w,
                 const float *restrict g, float *restrict m, float *restrict v) {
    float momentum = (float)net->momentum, fall = (float)rate;
    if (net->optimizer == ADAMW) {
        double correction = 1.0 - pow(net->beta2, (double)net->steps);
        float deviation = (float)(1.0 / sqrt(correction));
        float corrected = (float)(rate / (1.0 - pow(0.9, (double)net->steps)));
        float keep = (float)(1.0 - rate * decay), past = (float)net->beta2;
        float now = (float)(1.0 - net->beta2);
        for (int64_t k = 0; k < n; k++) {
            m[k] += 0.1f * (g[k] - m[k]);
            v[k] = past * v[k] + now * g[k] * g[k];
            w[k] = keep * w[k] - corrected * m[k] / (sqrtf(v[k]) * deviation + 1e-8f);
        }
        return;
    }
    float coupled = net->decay_kind == COUPLED ? (float)decay : 0.0f;
    float keep = net->decay_kind == DECOUPLED     ? (float)(1.0 - rate * decay)
                 : net->decay_kind == INDEPENDENT ? (float)(1.0 - decay)
                                                  : 1.0f;
    if (net->optimizer == NESTEROV)
        for (int64_t k = 0; k < n; k++) {
            float slope = g[k] + coupled * w[k];
            m[k] = momentum * m[k] + slope;
            w[k] = keep * w[k] - fall * (slope + momentum * m[k]);
        }
    else
        for (int64_t k = 0; k < n; k++) {
            m[k] = momentum * m[k] + g[k] + coupled * w[k];
            w[k] = keep * w[k] - fall * m[k];
        }
}

static void step_layer(Net *net, Layer *l, double rate) {
    int64_t padded = net->padded;
    sampled(l->outputs, l->count, l->start, l->column, l->delta, l->input, l->gradient, padded);
    if (l->factor)
        for (int64_t o = 0; o < l->outputs; o++)
            for (int64_t k = l->start[o]; k < l->start[o + 1]; k++) l->gradient[k] *= l->factor[o];
    step(net, rate, l->count, net->decay, l->weight, l->gradient, l->first, l->second);
    for (int64_t o = 0; o < l->outputs; o++)
        l->bias_gradient[o] = total(l->delta + o * padded, padded);
}

/* Optimiser steps on consecutive batches; returns 1 where a loss is not finite, else 0. */
int train(Net *net, const float *x, const int32_t *y, const int64_t *rows, const int64_t *sizes,
          const double *rates, int64_t steps) {
    unsigned before = flush_denormals();
    int diverged = 0;
    for (int64_t n = 0; n < steps && !diverged; n++) {
        int64_t batch = sizes[n];
        net->padded = (batch + 15) / 16 * 16;
        forward(net, x, rows, batch, 1, 1);
        if (!isfinite(softmax(net, y, rows, batch))) {
            diverged = 1;
            break;
        }
        double rate = rates[n];
        for (int64_t i = net->depth - 1; i >= 0; i--)
            if (i > 0) hidden_delta(net, i - 1, batch);
        net->steps++;
        for (int64_t i = net->depth - 1; i >= 0; i--) step_layer(net, net->layers + i, rate);
        int64_t biases = net->biases, rest = net->extras - biases;
        step(net, rate, biases, net->decay_biases ? net->decay : 0.0, net->extra,
             net->extra_gradient, net->extra_first, net->extra_second);
        step(net, rate, rest, 0.0, net->extra + biases, net->extra_gradient + biases,
             net->extra_first + biases, net->extra_second + biases);
        rows += batch;
    }
    restore_denormals(before);
    return diverged;
}

/* Fills inputs and deltas of all layers for one batch, as the next step would see them. */
int backward(Net *net, const float *x, const int32_t *y, const int64_t *rows, int64_t batch) {
    unsigned before = flush_denormals();
    net->padded = (batch + 15) / 16 * 16;
    forward(net, x, rows, batch, 1, 0);
    int diverged = !isfinite(softmax(net, y, rows, batch));
    if (!diverged)
        for (int64_t i = net->depth - 1; i > 0; i--) hidden_delta(net, i - 1, batch);
    restore_denormals(before);
    return diverged;
}

/* Outputs of the network in evaluation mode, [classes][padded] in the last layer's value. */
void evaluate(Net *net, const float *x, const int64_t *rows, int64_t batch) {
    unsigned before = flush_denormals();
    net->padded = (batch + 15) / 16 * 16;
    forward(net, x, rows, batch, 0, 0);
    restore_denormals(before);
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

/* The same by input neuron, with the place of every weight in the CSR order. */
void transposed(int64_t outputs, int64_t inputs, const int64_t *start, const int32_t *column,
                int64_t *in_start, int32_t *in_row, int32_t *in_place) {
    memset(in_start, 0, (size_t)(inputs + 1) * sizeof(int64_t));
    for (int64_t k = 0; k < start[outputs]; k++) in_start[column[k] + 1]++;
    for (int64_t i = 0; i < inputs; i++) in_start[i + 1] += in_start[i];
    for (int64_t o = 0; o < outputs; o++)
        for (int64_t k = start[o]; k < start[o + 1]; k++) {
            int64_t to = in_start[column[k]]++;
            in_row[to] = (int32_t)o;
            in_place[to] = (int32_t)k;
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

/* The best positions so far, in ascending position; sparse.Best mirrors it. */
typedef struct {
    int64_t wanted, held, room, taken_at;
    float threshold; /* only what is larger enters */
    float *size, *scratch;
    int64_t *position;
} Best;

static float nth_largest(float *a, int64_t count, int64_t n) {
    int64_t low = 0, high = count - 1;
    while (low < high) {
        float pivot = a[low + (high - low) / 2];
        int64_t i = low, j = high;
        while (i <= j) {
            while (a[i] > pivot) i++;
            while (a[j] < pivot) j--;
            if (i <= j) {
                float t = a[i];
                a[i++] = a[j];
                a[j--] = t;
            }
        }
        if (n <= j) high = j;
        else if (n >= i) low = i;
        else break;
    }
    return a[n];
}

/* Keeps the wanted number of largest; of equal ones those of the lowest positions. */
void shrink(Best *best) {
    if (best->held <= best->wanted || best->wanted == 0) {
        if (best->wanted == 0) best->held = 0;
        return;
    }
    memcpy(best->scratch, best->size, (size_t)best->held * sizeof(float));
    float least = nth_largest(best->scratch, best->held, best->wanted - 1);
    int64_t above = 0, kept = 0;
    for (int64_t k = 0; k < best->held; k++) above += best->size[k] > least;
    int64_t ties = best->wanted - above;
    for (int64_t k = 0; k < best->held; k++) {
        float size = best->size[k];
        if (size > least || (size == least && ties-- > 0)) {
            best->size[kept] = size;
            best->position[kept++] = best->position[k];
        }
    }
    best->held = kept;
    best->threshold = least;
}

/* Offers |values| of the consecutive positions from `first`, except those taken (ascending). */
void scan(Best *best, const float *values, int64_t count, int64_t first, const int64_t *taken,
          int64_t n_taken) {
    if (best->wanted == 0) return;
    for (int64_t block = 0; block < count; block += 16) {
        int64_t end = block + 16 < count ? block + 16 : count;
        if (end == block + 16) {
            int32_t any = 0;
            for (int j = 0; j < 16; j++) any |= fabsf(values[block + j]) > best->threshold;
            if (!any) continue;
        }
        for (int64_t k = block; k < end; k++) {
            float size = fabsf(values[k]);
            if (!(size > best->threshold)) continue;
            int64_t at = best->taken_at;
            while (at < n_taken && taken[at] < first + k) at++;
            best->taken_at = at;
            if (at < n_taken && taken[at] == first + k) continue;
            if (best->held == best->room) {
                shrink(best);
                if (!(size > best->threshold)) continue;
            }
            best->size[best->held] = size;
            best->position[best->held++] = first + k;
        }
    }
}
