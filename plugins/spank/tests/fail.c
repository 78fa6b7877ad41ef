/* A plugin that fails where its argument says, to see what Slurm makes of it: `HOOK`, or `kill=FILE` for
 * rank 1 that writes the time into FILE and is killed in task_init. For tests only; never installed. */
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>
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

	if (ac == 1 && strncmp(argv[0], "kill=", 5) == 0 &&
	    spank_get_item(spank, S_TASK_GLOBAL_ID, &rank) == ESPANK_SUCCESS && rank == 1) {
		struct timespec now;
		int file = open(argv[0] + 5, O_WRONLY | O_CREAT | O_TRUNC, 0644);

		if (file < 0 || clock_gettime(CLOCK_REALTIME, &now) != 0 ||
		    dprintf(file, "%ld.%09ld\n", (long)now.tv_sec, now.tv_nsec) < 0)
			return -1;
		return kill(getpid(), SIGKILL);
	}
	return fail_in("task_init", ac, argv);
}
