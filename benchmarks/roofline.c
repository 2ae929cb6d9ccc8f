/* What one core can do at most: reads from a buffer of some size, multiplications with additions. */

#include <stdint.h>

typedef float vec __attribute__((vector_size(4 * WIDTH)));

/* Adds up the buffer, `count` floats, so many times; the compiler must not leave it out. */
float read_buffer(const float *buffer, int64_t count, int64_t times) {
    vec sum[8] = {};
    for (int64_t n = 0; n < times; n++) {
        for (int64_t k = 0; k < count; k += 8 * WIDTH)
#pragma GCC unroll 8
            for (int j = 0; j < 8; j++) sum[j] += *(const vec *)(buffer + k + j * WIDTH);
        __asm__ volatile("" : : : "memory");
    }
    float total = 0.0f;
    for (int j = 0; j < 8; j++)
        for (int i = 0; i < WIDTH; i++) total += sum[j][i];
    return total;
}

/* 16 chains of x * a + b, so many links each: 32 * WIDTH operations a link of all. */
float multiply_add(int64_t links, float a, float b) {
    vec x[16];
    for (int j = 0; j < 16; j++)
        for (int i = 0; i < WIDTH; i++) x[j][i] = (float)(i + j);
    for (int64_t n = 0; n < links; n++)
#pragma GCC unroll 16
        for (int j = 0; j < 16; j++) x[j] = x[j] * a + b;
    float total = 0.0f;
    for (int j = 0; j < 16; j++)
        for (int i = 0; i < WIDTH; i++) total += x[j][i];
    return total;
}
