/* What Slurm tells a task about its place, read once. */
#include "task.h"

#include <stdio.h>

#include "het.h"
#include "plugin.h"

/* Ids from here on are no numbered steps: slurm.h has SLURM_EXTERN_CONT, SLURM_BATCH_SCRIPT and
 * SLURM_INTERACTIVE_STEP there, all between 0xfffffff0 and 0xffffffff. */
#define FIRST_SPECIAL_STEP 0xfffffff0u

static int read_het(struct sk_task *task)
{
	struct sk_het het;
	int code = sk_het_read(task->env, &het);

	if (code <= 0)
		return code;
	task->spans = het.world_size != task->world_size;
	task->job_id = het.job_id;
	task->rank = het.rank;
	task->world_size = het.world_size;
	task->node_rank = het.node_rank;
	return 0;
}

int sk_task_read(spank_t spank, struct sk_task *task)
{
	char **env = NULL;
	int local_rank = -1;

	if (spank_get_item(spank, S_JOB_ID, &task->job_id) != ESPANK_SUCCESS ||
	    spank_get_item(spank, S_JOB_STEPID, &task->step_id) != ESPANK_SUCCESS ||
	    spank_get_item(spank, S_TASK_ID, &local_rank) != ESPANK_SUCCESS ||
	    spank_get_item(spank, S_TASK_GLOBAL_ID, &task->rank) != ESPANK_SUCCESS ||
	    spank_get_item(spank, S_JOB_TOTAL_TASK_COUNT, &task->world_size) != ESPANK_SUCCESS ||
	    spank_get_item(spank, S_JOB_LOCAL_TASK_COUNT, &task->local_world_size) !=
		    ESPANK_SUCCESS ||
	    spank_get_item(spank, S_JOB_NODEID, &task->node_rank) != ESPANK_SUCCESS ||
	    spank_get_item(spank, S_JOB_ENV, &env) != ESPANK_SUCCESS || local_rank < 0 || !env)
		return -1;
	task->local_rank = (uint32_t)local_rank;
	task->env = env;
	return sk_task_is_rank(task) ? read_het(task) : 0;
}

bool sk_task_is_rank(const struct sk_task *task)
{
	return task->step_id < FIRST_SPECIAL_STEP;
}

int sk_task_setenv(spank_t spank, const char *name, const char *value)
{
	spank_err_t code = spank_setenv(spank, name, value, 1);

	if (code == ESPANK_SUCCESS)
		return 0;
	sk_error("cannot set %s for the task: %s", name, spank_strerror(code));
	return -1;
}

int sk_task_set_token(spank_t spank, const struct sk_task *task, const char *name, const char *note)
{
	char value[128];
	int length = snprintf(value, sizeof(value), "%s@%u.%u.%u%s%s", SLURMKIT_VERSION,
			      task->job_id, task->step_id, task->rank, *note ? " " : "", note);

	if (length < 0 || (size_t)length >= sizeof(value))
		return -1;
	return sk_task_setenv(spank, name, value);
}
