/* The map: which CPUs, memory and NICs belong to each GPU of this node. See docs/reference/plugin-map.md. */
#ifndef SLURMKIT_AFFINITY_MAP_H
#define SLURMKIT_AFFINITY_MAP_H

#include <stddef.h>
#include <stdint.h>

#include "../common/text.h"

#define SK_MAP_MAX_GPUS 64u
#define SK_MAP_MAX_BYTES (256u * 1024u)

enum sk_policy { SK_POLICY_BIND, SK_POLICY_PREFERRED, SK_POLICY_INTERLEAVE };

struct sk_gpu {
	uint32_t index; /* as CUDA counts, with CUDA_DEVICE_ORDER=PCI_BUS_ID */
	uint32_t minor; /* of /dev/nvidiaN */
	char pci[20];
	char uuid[64]; /* GPU-...; empty when not known */
	const char *mig; /* MIG-...,MIG-...; empty for none */
	struct sk_set cpus;
	struct sk_set mems; /* empty: the memory policy stays as it is */
	enum sk_policy policy;
	const char *nics; /* names, for people */
	char *env;        /* NAME=VALUE, divided by SK_ENV_DIVIDER; empty for none */
};

#define SK_ENV_DIVIDER '\x1f'

struct sk_map {
	char host[256]; /* "-": any */
	size_t num_gpus;
	struct sk_gpu gpus[SK_MAP_MAX_GPUS];
	char error[192]; /* what is wrong, with its line */
};

/* Read a map. Strings of the result point into `text`, which is cut into pieces and has to hold a
 * NUL behind its `size` bytes. Returns 0, or -1 with map->error set. */
int sk_map_parse(struct sk_map *map, char *text, size_t size);

#endif
