#include "elman.h"

#include <stdint.h>
#include <string.h>

#ifndef ELMAN_OWN_MATH
#include <math.h>
#endif

/* Pointers that do not overlap, so that compilers vectorise the loops. */
#if defined(__GNUC__) || defined(_MSC_VER)
#define ELMAN_RESTRICT __restrict
#elif !defined(__cplusplus)
#define ELMAN_RESTRICT restrict
#else
#define ELMAN_RESTRICT
#endif

/* Rows of sums, with room for whole blocks. */
#define ELMAN_ROOM(rows) (((rows) + ELMAN_BLOCK - 1) / ELMAN_BLOCK * ELMAN_BLOCK)
#define ELMAN_SUMS ELMAN_ROOM(ELMAN_GATES * ELMAN_HIDDEN)

#ifdef ELMAN_INT8
typedef int8_t elman_weight;
#else
typedef float elman_weight;
#endif

/* A matrix [rows, columns] with a bias. Float32: blocks of ELMAN_BLOCK rows, each block column by column, so
 * that the inner loop runs over neighbouring sums. Int8: row by row, filled up with 0 to ELMAN_PADDED
 * columns; a weight is its integer times the scale of its row. */
typedef struct {
    int rows, columns;
    const elman_weight *weights;
    const float *scales, *bias;
} elman_matrix;

typedef struct {
    elman_matrix input, hidden;
} elman_layer;

#include "elman_weights.inc"

/* ---- Functions of one number ---- */

#ifdef ELMAN_OWN_MATH
/* e^x = 2^n * e^r, |r| <= ln(2) / 2, by the polynomial of Cephes; relative error below 3e-7. */
static inline float elman_exp(float x)
{
    float n, r, y, power;
    uint32_t bits;
    x = x < -87.0f ? -87.0f : x;
    x = x > 88.0f ? 88.0f : x;
    /* Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits. */
    n = x * 1.44269504f + 12582912.0f;
    memcpy(&bits, &n, sizeof bits);
    n -= 12582912.0f;
    r = x - n * 0.693359375f + n * 2.12194440e-4f;
    y = 1.9875691500e-4f;
    y = y * r + 1.3981999507e-3f;
    y = y * r + 8.3334519073e-3f;
    y = y * r + 4.1665795894e-2f;
    y = y * r + 1.6666665459e-1f;
    y = y * r + 5.0000001201e-1f;
    y = y * r * r + r + 1.0f;
    bits = (bits - UINT32_C(0x4B400000) + 127u) << 23;
    memcpy(&power, &bits, sizeof power);
    return y * power;
}

static inline float elman_tanh(float x) { return 2.0f / (1.0f + elman_exp(-2.0f * x)) - 1.0f; }
#else
static inline float elman_exp(float x) { return expf(x); }
static inline float elman_tanh(float x) { return tanhf(x); }
#endif

static inline float elman_sigmoid(float x) { return 1.0f / (1.0f + elman_exp(-x)); }

/* Keep a state finite: cells without tanh can grow without bound. */
static inline float elman_bounded(float x)
{
    x = x == x ? x : 0.0f;
    x = x < -1e18f ? -1e18f : x;
    return x > 1e18f ? 1e18f : x;
}

static inline float elman_relu(float x) { return x > 0.0f ? elman_bounded(x) : 0.0f; }

/* ---- Products of a matrix and a vector ---- */

/* Begin with the bias. */
static inline void elman_begin(float *ELMAN_RESTRICT sums, const elman_matrix *matrix)
{
    int row;
    for (row = 0; row < ELMAN_ROOM(matrix->rows); row++)
        sums[row] = matrix->bias ? matrix->bias[row] : 0.0f;
}

#ifdef ELMAN_INT8
/* Write the integers nearest to x * 127 / max|x|; return the scale max|x| / 127. */
static inline float elman_quantise(int8_t *ELMAN_RESTRICT integers, const float *ELMAN_RESTRICT x, int count)
{
    int i;
    float largest = 0.0f, factor;
    for (i = 0; i < count; i++) {
        float size = x[i] < 0.0f ? -x[i] : x[i];
        largest = size > largest ? size : largest;
    }
    /* Below, 127 / max|x| could overflow; such numbers count as 0. */
    factor = largest > 1e-30f ? 127.0f / largest : 0.0f;
    for (i = 0; i < count; i++)
        integers[i] = (int8_t)(x[i] * factor + (x[i] < 0.0f ? -0.5f : 0.5f));
    for (; i % ELMAN_PADDED; i++)
        integers[i] = 0;
    return largest / 127.0f;
}

/* sums += matrix * x, by exact products of integers. */
static inline void elman_add(float *ELMAN_RESTRICT sums, const elman_matrix *matrix, const float *ELMAN_RESTRICT x)
{
    int8_t integers[ELMAN_MAX_COLUMNS];
    int row, j, columns = (matrix->columns + ELMAN_PADDED - 1) / ELMAN_PADDED * ELMAN_PADDED;
    float scale = elman_quantise(integers, x, matrix->columns);
    const int8_t *w = matrix->weights;
    for (row = 0; row < matrix->rows; row++, w += columns) {
        int32_t sum = 0;
        for (j = 0; j < columns; j++)
            sum += (int32_t)w[j] * integers[j];
        sums[row] += (float)sum * (matrix->scales[row] * scale);
    }
}
#else
/* sums += matrix * x. */
static inline void elman_add(float *ELMAN_RESTRICT sums, const elman_matrix *matrix, const float *ELMAN_RESTRICT x)
{
    const float *w = matrix->weights;
    int row, j, k;
    for (row = 0; row < matrix->rows; row += ELMAN_BLOCK) {
        /* The sums of a block stay in registers while its weights stream by. */
        float block[ELMAN_BLOCK];
        for (k = 0; k < ELMAN_BLOCK; k++)
            block[k] = sums[row + k];
        for (j = 0; j < matrix->columns; j++, w += ELMAN_BLOCK)
            for (k = 0; k < ELMAN_BLOCK; k++)
                block[k] += w[k] * x[j];
        for (k = 0; k < ELMAN_BLOCK; k++)
            sums[row + k] = block[k];
    }
}
#endif

/* Write a row of a matrix, the embedding of a token; a tied head is the same matrix. */
static inline void elman_row(float *x, const elman_matrix *matrix, int row)
{
    int j;
#ifdef ELMAN_INT8
    size_t columns = (size_t)((matrix->columns + ELMAN_PADDED - 1) / ELMAN_PADDED * ELMAN_PADDED);
    for (j = 0; j < matrix->columns; j++)
        x[j] = matrix->scales[row] * (float)matrix->weights[(size_t)row * columns + (size_t)j];
#else
    const float *w = matrix->weights + (size_t)(row / ELMAN_BLOCK) * ELMAN_BLOCK * (size_t)matrix->columns;
    for (j = 0; j < matrix->columns; j++)
        x[j] = w[j * ELMAN_BLOCK + row % ELMAN_BLOCK];
#endif
}

/* ---- Cells: gates and states after one step, from the sums of the gates ---- */

#ifdef ELMAN_LSTM
/* Gates input, forget, candidate, output (Hochreiter and Schmidhuber 1997, forget gate Gers et al. 2000). */
static inline void elman_cell(float states[ELMAN_STATES][ELMAN_HIDDEN], const float *ELMAN_RESTRICT sums)
{
    float *ELMAN_RESTRICT h = states[0], *ELMAN_RESTRICT c = states[1];
    int i;
    for (i = 0; i < ELMAN_HIDDEN; i++) {
        float accept = elman_sigmoid(sums[i]);
        float forget = elman_sigmoid(sums[ELMAN_HIDDEN + i]);
        float candidate = elman_tanh(sums[2 * ELMAN_HIDDEN + i]);
        float output = elman_sigmoid(sums[3 * ELMAN_HIDDEN + i]);
        c[i] = forget * c[i] + accept * candidate;
        h[i] = output * elman_tanh(c[i]);
    }
}
#endif

#ifdef ELMAN_GRU
/* Gates reset, update, candidate (Cho et al. 2014, reset after the product). */
static inline void elman_cell(float states[ELMAN_STATES][ELMAN_HIDDEN], const float *ELMAN_RESTRICT gx,
                              const float *ELMAN_RESTRICT gh)
{
    float *ELMAN_RESTRICT h = states[0];
    int i;
    for (i = 0; i < ELMAN_HIDDEN; i++) {
        float reset = elman_sigmoid(gx[i] + gh[i]);
        float update = elman_sigmoid(gx[ELMAN_HIDDEN + i] + gh[ELMAN_HIDDEN + i]);
        float candidate = elman_tanh(gx[2 * ELMAN_HIDDEN + i] + reset * gh[2 * ELMAN_HIDDEN + i]);
        h[i] = candidate + update * (h[i] - candidate);
    }
}
#endif

#ifdef ELMAN_MINGRU
/* Gates update and candidate, from the input alone (Feng et al. 2024). */
static inline void elman_cell(float states[ELMAN_STATES][ELMAN_HIDDEN], const float *ELMAN_RESTRICT sums)
{
    float *ELMAN_RESTRICT h = states[0];
    int i;
    for (i = 0; i < ELMAN_HIDDEN; i++) {
        float update = elman_sigmoid(sums[i]);
        h[i] = elman_bounded((1.0f - update) * h[i] + update * sums[ELMAN_HIDDEN + i]);
    }
}
#endif

#ifdef ELMAN_RNN
/* One state, h' = f(sum) (Elman 1990). */
static inline void elman_cell(float states[ELMAN_STATES][ELMAN_HIDDEN], const float *ELMAN_RESTRICT sums)
{
    float *ELMAN_RESTRICT h = states[0];
    int i;
    for (i = 0; i < ELMAN_HIDDEN; i++)
        h[i] = ELMAN_RNN(sums[i]);
}

#endif

/* ---- One step of the network ---- */

/* Write the output of the last layer of one member after the input x. With ELMAN_TABLE, `first` holds the sums
 * of the first layer, and x is not used. */
static inline void elman_layers_step(float states[ELMAN_LAYERS][ELMAN_STATES][ELMAN_HIDDEN], int member,
                                     const float *x, const float *first, float *output)
{
    float sums[ELMAN_SUMS];
#ifdef ELMAN_GRU
    float gh[ELMAN_SUMS];
#endif
    int k, i;
    for (k = 0; k < ELMAN_LAYERS; k++) {
        const elman_layer *layer = &elman_layers[member][k];
        float *h = states[k][0];
        if (first && k == 0) {
            memcpy(sums, first, sizeof(float) * ELMAN_GATES * ELMAN_HIDDEN);
        } else {
            elman_begin(sums, &layer->input);
            elman_add(sums, &layer->input, k ? output : x);
        }
#if defined(ELMAN_GRU)
        elman_begin(gh, &layer->hidden);
        elman_add(gh, &layer->hidden, h);
        elman_cell(states[k], sums, gh);
#else
#ifndef ELMAN_MINGRU
        elman_add(sums, &layer->hidden, h);
#endif
        elman_cell(states[k], sums);
#endif
        for (i = 0; i < ELMAN_HIDDEN; i++)
            output[i] = ELMAN_RESIDUAL && k ? output[i] + h[i] : h[i];
    }
}

#ifdef ELMAN_POOLS
/* Add the last output to the pools of a member. */
static inline void elman_pool(elman_state *state, int member)
{
    const float *y = state->output[member];
    int i;
#ifdef ELMAN_ATTENTION
    float score = 0.0f, old = 1.0f, weight = 1.0f;
    for (i = 0; i < ELMAN_HIDDEN; i++)
        score += y[i] * elman_attention[member][i];
    /* All weights are relative to the largest score, so that none overflows. */
    if (state->steps && score > state->largest_score[member])
        old = elman_exp(state->largest_score[member] - score);
    else if (state->steps)
        weight = elman_exp(score - state->largest_score[member]);
    if (!state->steps || score > state->largest_score[member])
        state->largest_score[member] = score;
    state->weight_sum[member] = state->weight_sum[member] * old + weight;
#endif
    for (i = 0; i < ELMAN_HIDDEN; i++) {
        float(*pools)[ELMAN_HIDDEN] = state->pools[member];
#ifdef ELMAN_LAST
        pools[ELMAN_LAST][i] = y[i];
#endif
#ifdef ELMAN_MEAN
        pools[ELMAN_MEAN][i] += y[i];
#endif
#ifdef ELMAN_MAX
        if (!state->steps || y[i] > pools[ELMAN_MAX][i])
            pools[ELMAN_MAX][i] = y[i];
#endif
#ifdef ELMAN_ATTENTION
        pools[ELMAN_ATTENTION][i] = pools[ELMAN_ATTENTION][i] * old + weight * y[i];
#endif
    }
}
#endif

/* Read one step: `x` of each member, or the sums of the first layer. */
static inline void elman_step(elman_state *state, int member, const float *x, const float *first)
{
    elman_layers_step(state->states[member], member, x, first, state->output[member]);
#ifdef ELMAN_POOLS
    elman_pool(state, member);
#endif
}

#ifdef ELMAN_TOKENS
static inline void elman_read(elman_state *state, int token)
{
    int member;
    for (member = 0; member < ELMAN_MEMBERS; member++) {
#if defined(ELMAN_TABLE)
        elman_step(state, member, NULL, elman_table[member] + (size_t)token * ELMAN_GATES * ELMAN_HIDDEN);
#else
        float x[ELMAN_INPUTS];
        elman_row(x, &elman_embeddings[member], token);
        elman_step(state, member, x, NULL);
#endif
    }
    state->steps++;
}
#endif

/* ---- The functions of the header ---- */

void elman_reset(elman_state *state)
{
    memset(state, 0, sizeof *state);
#ifdef ELMAN_START
    /* The first token is predicted from the output after the start token. */
    elman_read(state, ELMAN_START);
#ifndef ELMAN_END
    memset(state->states, 0, sizeof state->states);
#endif
#endif
}

#ifdef ELMAN_TOKENS
void elman_feed(elman_state *state, int token)
{
    token = token < 0 || token >= ELMAN_TOKENS ? 0 : token;
#ifdef ELMAN_END
    /* The end of a line: the next one begins anew. */
    if (token == ELMAN_END) {
        elman_reset(state);
        return;
    }
#endif
    elman_read(state, token);
}
#else
void elman_feed(elman_state *state, const float *values)
{
    float x[ELMAN_INPUTS];
    int member, i;
    for (i = 0; i < ELMAN_CHANNELS; i++) {
        int missing = values[i] != values[i];
        float scaled = missing ? 0.0f : (values[i] - elman_means[i]) * elman_factors[i];
        scaled = scaled < -1e6f ? -1e6f : scaled;
        x[i] = scaled > 1e6f ? 1e6f : scaled;
        /* Marks of missing numbers follow all numbers, where training had them. */
        if (ELMAN_INPUTS > ELMAN_CHANNELS)
            x[ELMAN_INPUTS - ELMAN_CHANNELS + i] = (float)missing;
    }
    for (member = 0; member < ELMAN_MEMBERS; member++)
        elman_step(state, member, x, NULL);
    state->steps++;
}
#endif

#ifdef ELMAN_POOLS
/* Write what the head of a member reads. */
static inline void elman_pooled(const elman_state *state, int member, float *pooled)
{
    int i;
    memcpy(pooled, state->pools[member], sizeof state->pools[member]);
    for (i = 0; i < ELMAN_HIDDEN && state->steps; i++) {
#ifdef ELMAN_MEAN
        pooled[ELMAN_MEAN * ELMAN_HIDDEN + i] /= (float)state->steps;
#endif
#ifdef ELMAN_ATTENTION
        pooled[ELMAN_ATTENTION * ELMAN_HIDDEN + i] /= state->weight_sum[member];
#endif
    }
}
#endif

void elman_predict(const elman_state *state, float *answer)
{
    float logits[ELMAN_ROOM(ELMAN_ANSWERS)];
    int member, i;
#if defined(ELMAN_POOLS) && defined(ELMAN_TOKENS)
    /* An empty text is read as a single <unk>. */
    elman_state one;
    if (!state->steps) {
        elman_reset(&one);
        elman_read(&one, 0);
        state = &one;
    }
#endif
    for (i = 0; i < ELMAN_ANSWERS; i++)
        answer[i] = 0.0f;
    for (member = 0; member < ELMAN_MEMBERS; member++) {
#ifdef ELMAN_POOLS
        float output[ELMAN_POOLS * ELMAN_HIDDEN];
        elman_pooled(state, member, output);
#else
        const float *output = state->output[member];
#endif
        elman_begin(logits, &elman_heads[member]);
        elman_add(logits, &elman_heads[member], output);
        /* The mean of the members' logits. */
        for (i = 0; i < ELMAN_ANSWERS; i++)
            answer[i] += logits[i] * (1.0f / ELMAN_MEMBERS);
    }
#ifdef ELMAN_REGRESSOR
    answer[0] = answer[0] * elman_target_scale + elman_target_mean;
#else
    {
        float largest, total = 0.0f;
        for (i = 0; i < ELMAN_ANSWERS; i++)
            answer[i] = elman_bounded(answer[i]);
        largest = answer[0];
        for (i = 1; i < ELMAN_ANSWERS; i++)
            largest = answer[i] > largest ? answer[i] : largest;
        for (i = 0; i < ELMAN_ANSWERS; i++)
            answer[i] = elman_exp(answer[i] - largest);
        for (i = 0; i < ELMAN_ANSWERS; i++)
            total += answer[i];
        for (i = 0; i < ELMAN_ANSWERS; i++)
            answer[i] /= total;
    }
#endif
}

#ifdef ELMAN_TOKENS
int elman_token(const char *text, size_t length)
{
    /* elman_order holds the tokens in the order of their bytes. */
    int first = 0, last = ELMAN_TOKENS;
    while (first < last) {
        int middle = first + (last - first) / 2, token = (int)elman_order[middle];
        size_t size = strlen(elman_tokens[token]);
        int order = memcmp(elman_tokens[token], text, size < length ? size : length);
        if (!order && size == length)
            return token;
        if (order < 0 || (!order && size < length))
            first = middle + 1;
        else
            last = middle;
    }
    return 0;
}

#ifdef ELMAN_CHARACTERS
const char *elman_character(const char *text, int *token)
{
    unsigned char lead = (unsigned char)text[0];
    size_t length = 1;
    /* Bytes 10xxxxxx continue a character of UTF-8. */
    while (lead >= 0xC0 && length < 4 && ((unsigned char)text[length] & 0xC0) == 0x80)
        length++;
    *token = elman_token(text, length);
    return text + length;
}
#endif
#endif
