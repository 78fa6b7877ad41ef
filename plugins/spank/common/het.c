/* A task's place in a step of a heterogeneous job. */
#include "het.h"

#include <stdio.h>
#include <string.h>

#include "text.h"

static int number_of(char *const *env, const char *name, uint32_t *number)
{
	const char *text = sk_env_find(env, name);

	return text ? sk_parse_number(text, strlen(text), UINT32_MAX, number) : -1;
}

int sk_het_read(char *const *env, struct sk_het *het)
{
	if (!sk_env_find(env, "SLURM_HET_SIZE"))
		return 0;
	if (number_of(env, "SLURM_JOB_ID", &het->job_id) != 0 ||
	    number_of(env, "SLURM_PROCID", &het->rank) != 0 ||
	    number_of(env, "SLURM_STEP_NUM_TASKS", &het->world_size) != 0 ||
	    number_of(env, "SLURM_NODEID", &het->node_rank) != 0 || het->rank >= het->world_size)
		return -1;
	return 1;
}

/* Whether the step has as many nodes as all components of the job together. */
static int has_all_components(char *const *env)
{
	uint32_t components, step_nodes, nodes, sum = 0;

	if (number_of(env, "SLURM_HET_SIZE", &components) != 0 ||
	    number_of(env, "SLURM_STEP_NUM_NODES", &step_nodes) != 0 || components > 128)
		return 0;
	for (uint32_t i = 0; i < components; i++) {
		char name[48];

		(void)snprintf(name, sizeof(name), "SLURM_JOB_NUM_NODES_HET_GROUP_%u", i);
		if (number_of(env, name, &nodes) != 0 || nodes > step_nodes - sum)
			return 0;
		sum += nodes;
	}
	return sum == step_nodes;
}

int sk_het_first_host(char *const *env, int spans, char *buffer, size_t size)
{
	const char *nodes = sk_env_find(env, "SLURM_STEP_NODELIST");

	if (spans)
		nodes = has_all_components(env) ? sk_env_find(env, "SLURM_JOB_NODELIST_HET_GROUP_0") :
						  NULL;
	return nodes ? sk_first_host(nodes, buffer, size) : -1;
}
