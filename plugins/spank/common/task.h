/* What Slurm tells a task about its place, read once. */
#ifndef SLURMKIT_TASK_H
#define SLURMKIT_TASK_H

#include <stdbool.h>
#include <stdint.h>

#include <slurm/spank.h>

struct sk_task {
	uint32_t job_id;
	uint32_t step_id;
	uint32_t rank;
	uint32_t local_rank;
	uint32_t world_size;
	uint32_t local_world_size;
	uint32_t node_rank;
	bool spans; /* whether the step has several components of a heterogeneous job */
	char *const *env; /* the task's environment; changes with every spank_setenv */
};

/* Read the place; -1 when Slurm does not tell. */
int sk_task_read(spank_t spank, struct sk_task *task);

/* Whether the step's processes are ranks: those of batch scripts, of `extern` steps and of
 * interactive shells of salloc are not. */
bool sk_task_is_rank(const struct sk_task *task);

/* Set a variable of the task; -1, with a message, when Slurm refuses. */
int sk_task_setenv(spank_t spank, const char *name, const char *value);

/* Set NAME=VERSION@JOB.STEP.RANK: that this plugin ran, in this very task. A plain version would be
 * inherited by tasks on nodes that lack the plugin. `note` may add a word; "" for none. */
int sk_task_set_token(spank_t spank, const struct sk_task *task, const char *name, const char *note);

#endif
