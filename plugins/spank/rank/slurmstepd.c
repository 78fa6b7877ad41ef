/* In the task: give it RANK, WORLD_SIZE, MASTER_ADDR and so on. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "../common/het.h"
#include "../common/plugin.h"
#include "../common/task.h"
#include "../common/text.h"
#include "rank.h"
#include "values.h"

#define TOKEN "SLURMKIT_SPANK_RANK"

struct setter {
	spank_t spank;
	const struct sk_task *task;
	uint32_t stale; /* variables that are those of another step's task */
	uint32_t set;   /* variables that are ours now */
	uint32_t next;  /* bit of the variable at hand */
	int failed;
};

/* Set a variable unless the user has. */
static void set(struct setter *setter, const char *name, const char *value)
{
	uint32_t bit = setter->next;
	char **env = NULL;

	setter->next <<= 1;
	if (spank_get_item(setter->spank, S_JOB_ENV, &env) != ESPANK_SUCCESS) {
		setter->failed = -1;
		return;
	}
	if (sk_env_find(env, name) && !(setter->stale & bit))
		return;
	if (sk_task_setenv(setter->spank, name, value) != 0)
		setter->failed = -1;
	else
		setter->set |= bit;
}

static void set_number(struct setter *setter, const char *name, uint32_t number)
{
	char text[16];

	if (snprintf(text, sizeof(text), "%u", number) < 0)
		setter->failed = -1;
	else
		set(setter, name, text);
}

/* The first node of the step, on which rank 0 runs, by the name that other nodes know. */
static int master_address(const struct sk_task *task, const struct sk_rank_args *args, char *buffer,
			  size_t size)
{
	const char *suffix = sk_env_find(task->env, "SLURMKIT_MASTER_ADDR_SUFFIX");
	char host[256];
	int length;

	if (sk_het_first_host(task->env, task->spans, host, sizeof(host)) != 0)
		return -1;
	length = snprintf(buffer, size, "%s%s", host, suffix ? suffix : args->suffix);
	return length < 0 || (size_t)length >= size ? -1 : 0;
}

int sk_rank_task_init(spank_t spank, int ac, char *argv[])
{
	struct sk_task task = {0};
	struct sk_rank_args args;
	struct setter setter = {.spank = spank, .task = &task, .next = 1};
	const char *wrong = sk_rank_parse_args(ac, argv, &args);
	const char *token;
	char address[384], note[16];

	if (sk_task_read(spank, &task) != 0) {
		sk_error("Slurm does not tell this task's place; no rank variables are set");
		return ESPANK_SUCCESS;
	}
	token = sk_env_find(task.env, TOKEN);
	if (!sk_task_is_rank(&task) || (token && strcmp(token, "off") == 0))
		return ESPANK_SUCCESS;
	if (wrong) {
		sk_error("plugstack.conf: %s is no argument of spank_slurmkit_rank.so "
			 "(ports=LOW-HIGH, suffix=TEXT); no rank variables are set", wrong);
		return ESPANK_SUCCESS;
	}
	setter.stale = sk_rank_inherited(token, task.job_id, task.step_id);
	/* The order gives the bits of the token: only append. */
	set_number(&setter, "RANK", task.rank);
	set_number(&setter, "LOCAL_RANK", task.local_rank);
	set_number(&setter, "WORLD_SIZE", task.world_size);
	set_number(&setter, "LOCAL_WORLD_SIZE", task.local_world_size);
	set_number(&setter, "NODE_RANK", task.node_rank);
	set_number(&setter, "GROUP_RANK", task.node_rank);
	if (spank_get_item(spank, S_JOB_ENV, &task.env) == ESPANK_SUCCESS &&
	    master_address(&task, &args, address, sizeof(address)) == 0) {
		set(&setter, "MASTER_ADDR", address);
		set_number(&setter, "MASTER_PORT", sk_rank_port(&args, task.job_id, task.step_id));
	}
	if (snprintf(note, sizeof(note), "%u", setter.set) < 0 || setter.failed != 0 ||
	    sk_task_set_token(spank, &task, TOKEN, note) != 0)
		sk_error("rank %u: not all rank variables could be set", task.rank);
	return ESPANK_SUCCESS;
}
