/* The kernel's side: the map's file, masks, the memory policy, device files. */
#include "system.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

_Static_assert(sizeof(unsigned long) == 8, "a set of the kernel is made of 64-bit words");

/* linux/mempolicy.h, which not every machine has. */
enum { MEMORY_PREFERRED = 1, MEMORY_BIND = 2, MEMORY_INTERLEAVE = 3 };

static int read_whole(int file, char **text, size_t *size, const char **why)
{
	struct stat facts;
	size_t used = 0;

	if (fstat(file, &facts) != 0) {
		*why = strerror(errno);
		return -1;
	}
	if (!S_ISREG(facts.st_mode) || facts.st_size > (off_t)SK_MAP_MAX_BYTES) {
		*why = S_ISREG(facts.st_mode) ? "too large" : "not a plain file";
		return -1;
	}
	*text = malloc(SK_MAP_MAX_BYTES + 1);
	while (*text && used < SK_MAP_MAX_BYTES) {
		ssize_t got = read(file, *text + used, SK_MAP_MAX_BYTES - used);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			*why = strerror(errno);
			return -1;
		}
		if (got == 0)
			break;
		used += (size_t)got;
	}
	if (!*text) {
		*why = "no memory left";
		return -1;
	}
	(*text)[used] = '\0';
	*size = used;
	return 0;
}

int sk_read_map(const char *path, struct sk_map **map, char **text, char *error, size_t size)
{
	const char *why = "no memory left";
	size_t length = 0;
	int file, code;

	/* O_NONBLOCK: opening a pipe would wait for its other end. */
	file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (file < 0)
		return sk_fail(error, size, "cannot read the map %s: %s", path, strerror(errno));
	code = read_whole(file, text, &length, &why);
	if (close(file) != 0 && code == 0)
		code = -1;
	if (code == 0) {
		*map = calloc(1, sizeof(**map));
		code = *map ? sk_map_parse(*map, *text, length) : -1;
		if (*map && code != 0)
			why = (*map)->error;
	}
	return code == 0 ? 0 : sk_fail(error, size, "the map %s: %s", path, why);
}

bool sk_open_gpus(const struct sk_map *map, struct sk_set *minors)
{
	bool confined = false;

	memset(minors, 0, sizeof(*minors));
	for (size_t i = 0; i < map->num_gpus; i++) {
		char path[40];
		int length = snprintf(path, sizeof(path), "/dev/nvidia%u", map->gpus[i].minor);

		if (length < 0 || (size_t)length >= sizeof(path) || access(path, F_OK) != 0)
			continue;
		/* The kernel asks the device cgroup, too. */
		if (access(path, R_OK | W_OK) == 0)
			sk_set_add(minors, map->gpus[i].minor);
		else
			confined = true;
	}
	return confined;
}

int sk_get_cpus(struct sk_set *cpus)
{
	memset(cpus, 0, sizeof(*cpus));
	return sched_getaffinity(0, sizeof(cpus->words), (cpu_set_t *)(void *)cpus->words);
}

int sk_apply_cpus(const struct sk_set *cpus)
{
	struct sk_set now;

	if (sched_setaffinity(0, sizeof(cpus->words), (const cpu_set_t *)(const void *)cpus->words) !=
	    0)
		return -1;
	/* The kernel keeps what the cpuset allows and drops the rest without a word. */
	if (sk_get_cpus(&now) != 0 || !sk_set_equal(&now, cpus)) {
		errno = EINVAL;
		return -1;
	}
	return 0;
}

int sk_apply_memory(const struct sk_set *nodes, enum sk_policy policy)
{
	static const int modes[] = {
		[SK_POLICY_BIND] = MEMORY_BIND,
		[SK_POLICY_PREFERRED] = MEMORY_PREFERRED,
		[SK_POLICY_INTERLEAVE] = MEMORY_INTERLEAVE,
	};

	/* By number: libnuma would be one more library in every slurmstepd. */
	return (int)syscall(SYS_set_mempolicy, modes[policy], nodes->words, (unsigned long)SK_SET_BITS);
}
