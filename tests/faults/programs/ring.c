/* An MPI program that knows nothing of slurmkit: no checkpoint, the same sum whatever happens. */
#include <mpi.h>
#include <stdio.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	MPI_Init(&argc, &argv);
	int rank, size;
	MPI_Comm_rank(MPI_COMM_WORLD, &rank);
	MPI_Comm_size(MPI_COMM_WORLD, &size);
	long total = 0;
	for (int step = 1; step <= 60; step++) {
		long mine = (long)step * (rank + 1), sum;
		MPI_Allreduce(&mine, &sum, 1, MPI_LONG, MPI_SUM, MPI_COMM_WORLD);
		total += sum;
		if (rank == 0) {
			printf("step %d\n", step);
			fflush(stdout);
		}
		usleep(50000);
	}
	if (rank == 0)
		printf("total %ld of %d ranks\n", total, size);
	MPI_Finalize();
	return 0;
}
