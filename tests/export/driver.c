/* Reads commands from standard input and writes the answer after each: r (reset), f INPUT (feed), p TEXT (the
 * number of the token with this text). */
#include <stdio.h>
#include <string.h>

#include "model.h"

static void answer(const elman_state *state)
{
    float values[ELMAN_ANSWERS];
    int i;
    elman_predict(state, values);
    for (i = 0; i < ELMAN_ANSWERS; i++)
        printf("%.9g ", (double)values[i]);
    printf("\n");
}

int main(void)
{
    elman_state state;
    char command[8];
    printf("%lu\n", (unsigned long)sizeof state);
    while (scanf("%7s", command) == 1) {
        if (command[0] == 'r')
            elman_reset(&state);
        if (command[0] == 'f') {
#ifdef ELMAN_TOKENS
            int token;
            if (scanf("%d", &token) != 1)
                return 1;
            elman_feed(&state, token);
#else
            float values[ELMAN_CHANNELS];
            int i;
            for (i = 0; i < ELMAN_CHANNELS; i++)
                if (scanf("%f", &values[i]) != 1)
                    return 1;
            elman_feed(&state, values);
#endif
        }
#ifdef ELMAN_TOKENS
        if (command[0] == 'p') {
            char text[64];
            if (scanf(" %63[^;];", text) != 1)
                return 1;
            printf("%d", elman_token(text, strlen(text)));
#ifdef ELMAN_CHARACTERS
            {
                int token;
                const char *rest = elman_character(text, &token);
                printf(" %d %d", token, (int)strlen(rest));
            }
#endif
            printf(" %s\n", elman_tokens[elman_token(text, strlen(text))]);
            continue;
        }
#endif
        answer(&state);
    }
    return 0;
}
