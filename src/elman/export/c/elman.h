/* A trained network of Elman as C99 (also C++): one source file and this header.
 *
 * Nothing is allocated and no global changes: the caller owns the state, so any number of states and threads
 * may share the constants. Besides <string.h>, the source needs expf and tanhf of the mathematical library, or
 * nothing of it with -DELMAN_OWN_MATH: functions of its own, which compilers vectorise, with an absolute error
 * of at most 5e-7 for tanh and sigmoid. Compile with -O3, and -march=native on the machine that runs it.
 *
 *     elman_state state;
 *     float answer[ELMAN_ANSWERS];
 *     elman_reset(&state);
 *     for (;;) {
 *         elman_feed(&state, next_input());
 *         elman_predict(&state, answer);
 *     }
 */
#ifndef ELMAN_H
#define ELMAN_H

#include <stddef.h>

#include "elman_sizes.inc"

#ifdef __cplusplus
extern "C" {
#endif

/* What the network has read. Only the functions below change it. */
typedef struct {
    float states[ELMAN_MEMBERS][ELMAN_LAYERS][ELMAN_STATES][ELMAN_HIDDEN];
    float output[ELMAN_MEMBERS][ELMAN_HIDDEN];
#ifdef ELMAN_POOLS
    float pools[ELMAN_MEMBERS][ELMAN_POOLS][ELMAN_HIDDEN];
    float largest_score[ELMAN_MEMBERS], weight_sum[ELMAN_MEMBERS]; /* of attention */
#endif
    unsigned long steps;
} elman_state;

/* Start a new sequence. */
void elman_reset(elman_state *state);

#ifdef ELMAN_TOKENS
/* Read one token: 0 (<unk>) to ELMAN_TOKENS - 1; any other number is read as <unk>. */
void elman_feed(elman_state *state, int token);
#else
/* Read one time step of ELMAN_CHANNELS numbers in the units of training; NaN is a missing number. */
void elman_feed(elman_state *state, const float *values);
#endif

/* Write the answer to what was read so far, ELMAN_ANSWERS numbers: the probability of each next token, label,
 * or tag of the last step; a regressor writes its number. */
void elman_predict(const elman_state *state, float *answer);

#ifdef ELMAN_TOKENS
/* The tokens as UTF-8. */
extern const char *const elman_tokens[ELMAN_TOKENS];

/* Return the number of the token with these bytes, 0 if it is unknown. */
int elman_token(const char *text, size_t length);

#ifdef ELMAN_CHARACTERS
/* Write the number of the first character of a text that is not empty; return the text behind it. */
const char *elman_character(const char *text, int *token);
#endif
#endif

#ifdef ELMAN_LABELS
/* The labels or tags as UTF-8, in the order of the probabilities. */
extern const char *const elman_labels[ELMAN_ANSWERS];
#endif

#ifdef __cplusplus
}
#endif

#endif
