/* On the node: verify where the task may run, then put it next to its GPU, or end it. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../common/plugin.h"
#include "../common/task.h"
#include "affinity.h"
#include "choose.h"
#include "system.h"

#define TOKEN "SLURMKIT_SPANK"
#define LIST_SIZE 256

/* All that one task works with. */
struct work {
	spank_t spank;
	struct sk_task task;
	struct sk_map *map;
	char *text;
	bool bound;
	char host[256];
	char error[1024];
};

int sk_affinity_slurmstepd_init(spank_t spank, int ac, char *argv[])
{
	/* The message waits in sk_affinity_options.error for the tasks. */
	if (sk_affinity_register(spank, ac, argv) != 0)
		sk_debug("%s", sk_affinity_options.error);
	return ESPANK_SUCCESS;
}

#define wrong(work, ...) sk_fail((work)->error, sizeof((work)->error), __VA_ARGS__)

/* Whether the map was made on this host; one that came with a disk image was not. */
static int check_host(struct work *work)
{
	const char *node = sk_env_find(work->task.env, "SLURMD_NODENAME");
	size_t size = strcspn(work->host, ".");

	if (strcmp(work->map->host, "-") == 0 || strcmp(work->map->host, work->host) == 0 ||
	    (node && strcmp(work->map->host, node) == 0) ||
	    (strlen(work->map->host) == size && strncmp(work->map->host, work->host, size) == 0))
		return 0;
	return wrong(work, "the map %s is that of %.200s", sk_affinity_options.map_path,
		     work->map->host);
}

static int set_variables(struct work *work, const struct sk_choice *choice)
{
	const struct sk_gpu *gpu = &work->map->gpus[choice->gpus[0]];
	char *entry = gpu->env;

	/* With several GPUs no one NIC is right: NCCL finds them itself. */
	if (choice->num_gpus != 1)
		return 0;
	while (*entry) {
		size_t size = strcspn(entry, "\x1f");
		char divider = entry[size];
		char *value = strchr(entry, '=');
		spank_err_t code;

		entry[size] = '\0';
		*value++ = '\0'; /* the parser has seen to it that there is one */
		code = spank_setenv(work->spank, entry, value, 0);
		if (code != ESPANK_SUCCESS && code != ESPANK_ENV_EXISTS)
			return wrong(work, "cannot set %.100s: %s", entry, spank_strerror(code));
		entry += size + (divider != '\0');
	}
	return 0;
}

static int apply(struct work *work, struct sk_choice *choice, const struct sk_set *allowed)
{
	const struct sk_gpu *gpu = &work->map->gpus[choice->gpus[0]];
	struct sk_set wanted = choice->cpus;
	char want[LIST_SIZE], have[LIST_SIZE], names[SK_MAP_MAX_GPUS * 8] = "";
	size_t used = 0;

	for (size_t i = 0; i < choice->num_gpus && used < sizeof(names); i++) {
		int length = snprintf(names + used, sizeof(names) - used, "%s%u", i ? "," : "",
				      work->map->gpus[choice->gpus[i]].index);

		used += length < 0 ? sizeof(names) : (size_t)length;
	}
	sk_set_format(&wanted, want, sizeof(want));
	sk_set_format(allowed, have, sizeof(have));
	if (sk_fit(&choice->cpus, allowed, work->task.local_world_size) != 0)
		return wrong(work, "GPU %s (%s) is next to CPUs %s, but the task may run on %s", names,
			     gpu->pci, want, have);
	if (sk_apply_cpus(&choice->cpus) != 0)
		return wrong(work, "cannot run on CPUs %s next to GPU %s: %s", want, names,
			     strerror(errno));
	if (sk_set_count(&choice->mems) > 0 && sk_apply_memory(&choice->mems, gpu->policy) != 0) {
		int code = errno;

		sk_set_format(&choice->mems, want, sizeof(want));
		return wrong(work, "cannot take memory from NUMA node %s next to GPU %s: %s", want, names,
			     strerror(code));
	}
	work->bound = set_variables(work, choice) == 0;
	return work->bound ? 0 : -1;
}

static int bind_task(struct work *work)
{
	char *const *env = work->task.env;
	struct sk_view view = {
		.visible = sk_env_find(env, "CUDA_VISIBLE_DEVICES"),
		.on_node = sk_env_find(env, "SLURM_GPUS_ON_NODE"),
		.local_rank = work->task.local_rank,
		.local_world_size = work->task.local_world_size,
	};
	struct sk_choice choice;
	struct sk_set allowed, open;

	if (sk_affinity_options.error[0])
		return wrong(work, "%s", sk_affinity_options.error);
	if (!sk_has_gpus(view.visible))
		return 0; /* a task without GPUs may run anywhere */
	if (sk_read_map(sk_affinity_options.map_path, &work->map, &work->text, work->error,
			sizeof(work->error)) != 0 ||
	    check_host(work) != 0)
		return -1;
	if (sk_open_gpus(work->map, &open))
		view.open = &open;
	if (sk_choose(work->map, &view, &choice) != 0)
		return wrong(work, "%s", choice.error);
	if (sk_get_cpus(&allowed) != 0)
		return wrong(work, "sched_getaffinity: %s", strerror(errno));
	return apply(work, &choice, &allowed);
}

/* End this task, and nothing else. This is the task's own process, forked for it and with one thread;
 * Slurm leaves it the same way when a `required` plugin returns -1. The return value of an `optional`
 * one is ignored, and the program would start in the wrong place after all. */
__attribute__((noreturn)) static void end_task(void)
{
	_exit(1);
}

int sk_affinity_task_init(spank_t spank, int ac, char *argv[])
{
	struct work work = {.spank = spank};
	int code;

	(void)ac;
	(void)argv;
	if (gethostname(work.host, sizeof(work.host) - 1) != 0)
		work.host[0] = '\0';
	if (sk_task_read(spank, &work.task) != 0) {
		code = wrong(&work, "Slurm does not tell this task's place");
	} else if (!sk_task_is_rank(&work.task)) {
		return ESPANK_SUCCESS;
	} else if (sk_task_set_token(spank, &work.task, TOKEN, "") != 0 ||
		   spank_get_item(spank, S_JOB_ENV, &work.task.env) != ESPANK_SUCCESS) {
		code = wrong(&work, "cannot set " TOKEN);
	} else if (sk_affinity_options.mode == SK_MODE_OFF) {
		return ESPANK_SUCCESS;
	} else {
		code = bind_task(&work);
	}
	free(work.map);
	free(work.text);
	/* `slurmkit exec` takes the mask for what it is then, and does not widen it again. */
	if (code == 0 && work.bound && sk_task_set_token(spank, &work.task, TOKEN, "bound") != 0)
		code = wrong(&work, "cannot set " TOKEN);
	if (code == 0)
		return ESPANK_SUCCESS;
	if (sk_affinity_options.mode == SK_MODE_STRICT) {
		sk_error("%s: rank %u: %s; its program is not started (--slurmkit-affinity=strict)",
			 work.host, work.task.rank, work.error);
		end_task();
	}
	sk_say("%s: rank %u is not bound: %s", work.host, work.task.rank, work.error);
	return ESPANK_SUCCESS;
}
