/* Where there is no libFuzzer: mutations of the corpus, the same ones in every run.
 * mutate SECONDS FILE... */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seed {
	uint8_t data[4096];
	size_t size;
};

static const char bytes[] = "0129-,= \n\x1f\x00\xff[].@/agGM#";

static uint64_t state = 88172645463325252u;

static size_t below(size_t limit) /* xorshift64 */
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return limit ? (size_t)(state % limit) : 0;
}

static size_t mutate(uint8_t *data, size_t size, size_t space)
{
	size_t at = below(size + 1), length = below(16), from = below(size + 1);

	switch (below(5)) {
	case 0: /* overwrite */
		if (at < size)
			data[at] = (uint8_t)bytes[below(sizeof(bytes))];
		return size;
	case 1: /* insert */
		if (size == space)
			return size;
		memmove(data + at + 1, data + at, size - at);
		data[at] = (uint8_t)bytes[below(sizeof(bytes))];
		return size + 1;
	case 2: /* remove */
		length = length < size - at ? length : size - at;
		memmove(data + at, data + at + length, size - at - length);
		return size - length;
	case 3: /* repeat a piece at the end */
		length = below(256);
		length = length < size - from ? length : size - from;
		length = length < space - size ? length : space - size;
		memmove(data + size, data + from, length);
		return size + length;
	default: /* cut */
		return at;
	}
}

static int read_seed(const char *path, struct seed *seed)
{
	FILE *file = fopen(path, "rb");

	if (!file)
		return -1;
	seed->size = fread(seed->data, 1, sizeof(seed->data), file);
	fclose(file);
	return 0;
}

int main(int argc, char *argv[])
{
	static uint8_t data[16384];
	static struct seed seeds[64];
	size_t num_seeds = 0;
	clock_t end;
	unsigned long runs = 0;

	for (int i = 2; i < argc && num_seeds < sizeof(seeds) / sizeof(*seeds); i++)
		if (read_seed(argv[i], &seeds[num_seeds++]) != 0) {
			perror(argv[i]);
			return 2;
		}
	if (num_seeds == 0) {
		fputs("mutate SECONDS FILE...\n", stderr);
		return 2;
	}
	end = clock() + (clock_t)(strtod(argv[1], NULL) * CLOCKS_PER_SEC);
	do {
		const struct seed *seed = &seeds[below(num_seeds)];
		size_t size = seed->size;

		memcpy(data, seed->data, size);
		for (size_t left = below(24); left > 0; left--)
			size = mutate(data, size, sizeof(data));
		if (LLVMFuzzerTestOneInput(data, size) != 0)
			return 1;
		runs++;
	} while (clock() < end);
	printf("%lu inputs, none went wrong\n", runs);
	return 0;
}
