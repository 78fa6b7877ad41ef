/* Every rank says where it is; together they check that they really are one MPI world. */

#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * An MPI that does not find its launcher may start each rank as a world of its own (Open MPI 5 does
 * so in silence), and every result is wrong then. All of them are rank 0, so rank 0 is the one to
 * ask. Under mpirun SLURM_NTASKS may be the number of its daemons, so it comes second.
 */
static int world_is_whole(int rank, int size)
{
    const char *tasks = getenv("WORLD_SIZE"); /* slurmkit's own count, without Slurm, too */

    if (tasks == NULL)
        tasks = getenv("SLURM_NTASKS");
    if (rank != 0 || tasks == NULL || atoi(tasks) == size)
        return 1;
    fprintf(stderr,
            "hello: %s tasks were started, but MPI sees a world of %d: they did not meet.\n"
            "    Set launch.mpi to a plugin that your MPI was built for (srun --mpi=list names\n"
            "    those of the cluster), or launch.launcher to mpirun.\n",
            tasks, size);
    return 0;
}

/* The sum of 1..size, added up over the network; every rank must see the same. */
static int sum_is_right(int rank, int size)
{
    long mine = rank + 1, sum = 0, expected = (long)size * (size + 1) / 2;

    MPI_Allreduce(&mine, &sum, 1, MPI_LONG, MPI_SUM, MPI_COMM_WORLD);
    if (sum != expected)
        fprintf(stderr, "hello: rank %d got %ld from MPI_Allreduce, not %ld\n", rank, sum,
                expected);
    else if (rank == 0)
        printf("MPI_Allreduce over %d ranks: %ld, as it should be\n", size, sum);
    return sum == expected;
}

int main(int argc, char **argv)
{
    char host[MPI_MAX_PROCESSOR_NAME];
    char library[MPI_MAX_LIBRARY_VERSION_STRING];
    int rank, size, length, good;

    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    MPI_Get_processor_name(host, &length);
    MPI_Get_library_version(library, &length);
    library[strcspn(library, ",\n")] = '\0'; /* name and version; the build follows */

    printf("rank %d of %d on %s, %s\n", rank, size, host, library);
    good = world_is_whole(rank, size) && sum_is_right(rank, size);
    fflush(stdout);
    /* The others may wait in MPI_Allreduce: this reaches them. */
    if (!good)
        MPI_Abort(MPI_COMM_WORLD, 1);
    MPI_Finalize();
    return 0;
}
