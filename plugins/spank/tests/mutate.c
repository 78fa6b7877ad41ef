/* Where there is no libFuzzer: mutations of good input, the same ones in every run. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const seeds[] = {
	"slurmkit-map 1 node1\ngpu 0 0000:1b:00.0 cpus=0-13,112-125 mems=0 nics=mlx5_0,mlx5_1 uuid=GPU-aa "
	"env=NCCL_IB_HCA==mlx5_0\x1fX=a b\ngpu 1 0000:43:00.0 cpus=14-27 mems=0 policy=bind minor=3 "
	"mig=MIG-1,MIG-2\n",
	"slurmkit-map 1 -\n# comment\ngpu 63 ffff:ff:1f.7 cpus=4095\n",
	"0,1,GPU-aa,MIG-1,MIG-GPU-aa/1/0", "0-3,5,7-4095", "n[3-9,12]-ib,x[1-2]", "mode=strict",
	"map=/run/slurmkit/affinity.map", "ports=20000-30000", "suffix=-ib0", "0.1.0@12.3.4 255", "warn",
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

int main(int argc, char *argv[])
{
	static uint8_t data[16384];
	double seconds = argc > 1 ? strtod(argv[1], NULL) : 5;
	clock_t end = clock() + (clock_t)(seconds * CLOCKS_PER_SEC);
	unsigned long runs = 0;

	do {
		const char *seed = seeds[below(sizeof(seeds) / sizeof(*seeds))];
		size_t size = strlen(seed);

		memcpy(data, seed, size);
		for (size_t left = below(24); left > 0; left--)
			size = mutate(data, size, sizeof(data));
		if (LLVMFuzzerTestOneInput(data, size) != 0)
			return 1;
		runs++;
	} while (clock() < end);
	printf("%lu inputs, none went wrong\n", runs);
	return 0;
}
