/* Time of what the affinity plugin does per task, microseconds per round: map, choice, masks. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "../affinity/choose.h"
#include "../affinity/system.h"

int main(int argc, char *argv[])
{
	struct sk_view view = {.visible = "0,1,2,3,4,5,6,7", .local_rank = 7, .local_world_size = 8};
	const long rounds = 1000;
	struct timespec start, end;

	if (argc != 2 || clock_gettime(CLOCK_MONOTONIC, &start) != 0)
		return 2;
	for (long i = 0; i < rounds; i++) {
		struct sk_map *map = NULL;
		struct sk_choice choice;
		struct sk_set allowed, open;
		char *text = NULL, error[1024];

		if (sk_read_map(argv[1], &map, &text, error, sizeof(error)) != 0 ||
		    sk_choose(map, &view, &choice) != 0 || sk_get_cpus(&allowed) != 0 ||
		    sk_apply_cpus(&allowed) != 0 || sk_open_gpus(map, &open))
			return 1;
		(void)sk_fit(&choice.cpus, &allowed, 8);
		free(map);
		free(text);
	}
	if (clock_gettime(CLOCK_MONOTONIC, &end) != 0)
		return 2;
	printf("%.1f\n", ((double)(end.tv_sec - start.tv_sec) * 1e9 + (double)(end.tv_nsec - start.tv_nsec)) /
				 1e3 / (double)rounds);
	return 0;
}
