/* Runs a fuzz target on files, without libFuzzer: every compiler can build it. */
#include <err.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void run(const char *path)
{
    static uint8_t data[1 << 20];
    FILE *file = fopen(path, "rb");
    size_t size;

    if (!file)
        err(1, "%s", path);
    size = fread(data, 1, sizeof data, file);
    if (ferror(file))
        err(1, "%s", path);
    fclose(file);
    uint8_t *copy = malloc(size ? size : 1); /* so that a checker sees where it ends */

    if (!copy)
        err(1, NULL);
    for (size_t i = 0; i < size; i++)
        copy[i] = data[i];
    (void)LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        run(argv[i]);
    printf("%d inputs\n", argc - 1);
    return argc > 1 ? 0 : 1;
}
