/*
 * A plate of N x N cells that is hot along one edge: each step sets every cell to the mean of its
 * neighbours. The rows are spread over the ranks of an MPI job.
 *
 * It survives failures by slurmkit's protocol for programs in any language:
 *   SLURMKIT_RESTART_DIR    the newest checkpoint that was verified; empty at the first start
 *   slurmkit ckpt begin N   prints the folder for the files of step N; `ckpt commit N` makes them count
 *   SLURMKIT_WARNING_FILE   appears when the job is about to be ended: save, and exit with code 75
 *
 * The state is one file in the order of the rows, whoever wrote them: the job may go on with another
 * number of ranks, and the result is the same to the last bit.
 *
 *   heat N STEPS [MILLISECONDS_PER_STEP]
 */

#include <mpi.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { EXIT_STOPPED = 75, PATH_SIZE = 4096, DEFAULT_EVERY_S = 30, LOOK_EVERY = 10 };

static int rank, size;

static _Noreturn void fail(const char *what, const char *which)
{
    fprintf(stderr, "heat: rank %d: %s %s\n", rank, what, which);
    fflush(stderr);
    MPI_Abort(MPI_COMM_WORLD, 1);
    abort();
}

/* The rows of a rank: first ... first + count - 1 of n. */
static int first_row(int n, int of_rank)
{
    return (int)((long)n * of_rank / size);
}

/* ----- checkpoints ------------------------------------------------------------------------------ */

static const char *variable(const char *name)
{
    const char *value = getenv(name);

    return value ? value : "";
}

/* Rank 0 asks slurmkit; the answer, one line, is told to all. Returns whether it went well. */
static int ask_slurmkit(const char *request, int step, char *answer)
{
    char command[PATH_SIZE];
    const char *slurmkit = getenv("SLURMKIT");
    int good = 1;

    answer[0] = '\0';
    if (rank == 0) {
        FILE *pipe;

        snprintf(command, sizeof command, "'%s' ckpt %s %d", slurmkit ? slurmkit : "slurmkit",
                 request, step);
        pipe = popen(command, "r");
        good = pipe != NULL && fgets(answer, PATH_SIZE, pipe) != NULL;
        good = pipe != NULL && pclose(pipe) == 0 && good;
        answer[strcspn(answer, "\n")] = '\0';
    }
    MPI_Bcast(&good, 1, MPI_INT, 0, MPI_COMM_WORLD);
    MPI_Bcast(answer, PATH_SIZE, MPI_CHAR, 0, MPI_COMM_WORLD);
    return good;
}

/* Every rank writes or reads its rows at their place in one file. Returns whether all could. */
static int transfer(const char *folder, double *rows, int n, int writing)
{
    char path[PATH_SIZE + 16];
    int first = first_row(n, rank), count = first_row(n, rank + 1) - first;
    int mode = writing ? MPI_MODE_CREATE | MPI_MODE_WRONLY : MPI_MODE_RDONLY;
    MPI_Offset offset = (MPI_Offset)first * n * (MPI_Offset)sizeof(double);
    int good, all_good, moved = 0;
    MPI_Status status;
    MPI_File file;

    snprintf(path, sizeof path, "%s/plate.bin", folder);
    good = MPI_File_open(MPI_COMM_WORLD, path, mode, MPI_INFO_NULL, &file) == MPI_SUCCESS;
    MPI_Allreduce(&good, &all_good, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD);
    if (!all_good)
        return 0;
    if (writing) /* there may be the file of a larger plate */
        good = MPI_File_set_size(file, (MPI_Offset)n * n * (MPI_Offset)sizeof(double)) ==
               MPI_SUCCESS;
    good = (writing ? MPI_File_write_at_all(file, offset, rows, count * n, MPI_DOUBLE, &status)
                    : MPI_File_read_at_all(file, offset, rows, count * n, MPI_DOUBLE, &status)) ==
               MPI_SUCCESS &&
           MPI_Get_count(&status, MPI_DOUBLE, &moved) == MPI_SUCCESS && moved == count * n && good;
    /* Closing is collective: a rank that could not write must not leave the others in it. */
    good = MPI_File_close(&file) == MPI_SUCCESS && good;
    MPI_Allreduce(&good, &all_good, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD);
    return all_good;
}

/* A save that fails costs this checkpoint, not the job: the one before is still there. */
static void save(int step, double *rows, int n)
{
    char folder[PATH_SIZE], said[PATH_SIZE];

    if (variable("SLURMKIT_CHECKPOINT_DIR")[0] == '\0')
        return;
    if (ask_slurmkit("begin", step, folder) && transfer(folder, rows, n, 1) &&
        ask_slurmkit("commit", step, said)) {
        if (rank == 0)
            printf("step %d saved\n", step);
    } else if (rank == 0) {
        fprintf(stderr, "heat: goes on without the checkpoint of step %d\n", step);
    }
}

/* The step to go on from, with the rows as they were then; 0 at the first start. */
static int restore(double *rows, int n)
{
    const char *folder = variable("SLURMKIT_RESTART_DIR"), *step = strrchr(folder, '-');

    if (folder[0] == '\0' || step == NULL)
        return 0;
    if (!transfer(folder, rows, n, 0))
        fail("cannot read plate.bin in", folder);
    return atoi(step + 1); /* the folder is called step-0000000250 */
}

/* What to do after a step; rank 0 looks at clock and file now and then, and all do the same. */
static void look(int step, double *last, int *save_now, int *stop)
{
    const char *every = variable("SLURMKIT_CHECKPOINT_EVERY"); /* 250, 600s or auto */
    const char *warning = variable("SLURMKIT_WARNING_FILE");
    int number = atoi(every), by_steps = number > 0 && strchr(every, 's') == NULL;
    int told[2] = {0, 0};

    if (step % LOOK_EVERY == 0) {
        if (rank == 0) {
            told[0] = !by_steps && MPI_Wtime() - *last >= (number > 0 ? number : DEFAULT_EVERY_S);
            told[1] = warning[0] != '\0' && access(warning, F_OK) == 0;
        }
        MPI_Bcast(told, 2, MPI_INT, 0, MPI_COMM_WORLD);
    }
    *save_now = told[0] || told[1] || (by_steps && step % number == 0);
    *stop = told[1];
    if (*save_now)
        *last = MPI_Wtime();
}

/* ----- the plate -------------------------------------------------------------------------------- */

/* The rows of the neighbours come to row 0 and row count + 1. */
static void exchange_edges(double *rows, int n, int count)
{
    int above = rank > 0 ? rank - 1 : MPI_PROC_NULL;
    int below = rank < size - 1 ? rank + 1 : MPI_PROC_NULL;

    MPI_Sendrecv(rows + n, n, MPI_DOUBLE, above, 0, rows + (size_t)(count + 1) * n, n, MPI_DOUBLE,
                 below, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    MPI_Sendrecv(rows + (size_t)count * n, n, MPI_DOUBLE, below, 1, rows, n, MPI_DOUBLE, above, 1,
                 MPI_COMM_WORLD, MPI_STATUS_IGNORE);
}

static void advance(const double *old, double *new, int n, int count)
{
    int first = first_row(n, rank);

    for (int row = 1; row <= count; row++) {
        const double *here = old + (size_t)row * n, *up = here - n, *down = here + n;
        double *out = new + (size_t)row * n;
        int edge = first + row - 1 == 0 || first + row - 1 == n - 1;

        for (int i = 0; i < n; i++)
            out[i] = edge || i == 0 || i == n - 1
                         ? here[i]
                         : 0.25 * ((up[i] + down[i]) + (here[i - 1] + here[i + 1]));
    }
}

int main(int argc, char **argv)
{
    int n = argc > 1 ? atoi(argv[1]) : 256, steps = argc > 2 ? atoi(argv[2]) : 1000;
    int pause_ms = argc > 3 ? atoi(argv[3]) : 0, count, step, save_now, stop;
    struct timespec pause = {pause_ms / 1000, pause_ms % 1000 * 1000000L};
    double *plate, *next, *swap, last_save;

    /* The end is told by a file, too; unhandled, these signals would end the program. */
    signal(SIGUSR1, SIG_IGN);
    signal(SIGUSR2, SIG_IGN);
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    if (n < size || n > 32768 || steps < 1)
        fail("usage: heat N STEPS, with N at least the number of ranks; not", argc > 1 ? argv[1] : "");
    setvbuf(stdout, NULL, _IOLBF, 0);

    count = first_row(n, rank + 1) - first_row(n, rank);
    plate = calloc((size_t)(count + 2) * n, sizeof *plate);
    next = calloc((size_t)(count + 2) * n, sizeof *next);
    if (plate == NULL || next == NULL)
        fail("no memory for", "the plate");
    if (rank == 0)
        for (int i = 0; i < n; i++)
            plate[n + i] = 100.0;

    step = restore(plate + n, n);
    if (rank == 0)
        printf("%d ranks, %d x %d cells, from step %d\n", size, n, n, step);
    last_save = MPI_Wtime();
    while (step < steps) {
        exchange_edges(plate, n, count);
        advance(plate, next, n, count);
        swap = plate, plate = next, next = swap;
        step++;
        if (pause_ms > 0)
            nanosleep(&pause, NULL);
        look(step, &last_save, &save_now, &stop);
        if (save_now || step == steps)
            save(step, plate + n, n);
        if (stop && step < steps) {
            MPI_Finalize();
            return EXIT_STOPPED;
        }
    }
    if (!transfer(".", plate + n, n, 1))
        fail("cannot write", "plate.bin");
    if (rank == 0)
        printf("done: plate.bin holds the plate after %d steps\n", steps);
    MPI_Finalize();
    return 0;
}
