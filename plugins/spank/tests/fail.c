/* A plugin that fails where its argument says, to see what Slurm makes of it: `HOOK`, or `kill` for a task
 * that is killed in task_init. For tests only; never installed. */
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include <slurm/spank.h>

SPANK_PLUGIN(slurmkit_fail, 1)

static int fail_in(const char *hook, int ac, char *argv[])
{
	return ac == 1 && strcmp(argv[0], hook) == 0 && spank_context() == S_CTX_REMOTE ? -1 : 0;
}

#define HOOK(name)                                                                                   \
	int slurm_spank_##name(spank_t spank, int ac, char *argv[])                                  \
	{                                                                                            \
		(void)spank;                                                                         \
		return fail_in(#name, ac, argv);                                                     \
	}

HOOK(init)
HOOK(user_init)
HOOK(task_init_privileged)
HOOK(task_post_fork)
HOOK(task_exit)
HOOK(exit)

int slurm_spank_task_init(spank_t spank, int ac, char *argv[])
{
	uint32_t rank = 0;

	if (ac == 1 && strcmp(argv[0], "kill") == 0 &&
	    spank_get_item(spank, S_TASK_GLOBAL_ID, &rank) == ESPANK_SUCCESS && rank == 1)
		return kill(getpid(), SIGKILL);
	return fail_in("task_init", ac, argv);
}
