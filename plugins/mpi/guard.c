/*
 * Preloaded into the ranks of an MPI job: after MPI_Init it compares the size of the world with the
 * number of ranks that were started, and ends a rank that is alone in a world of its own.
 *
 * It is linked with no MPI and includes no mpi.h, so that one file serves every MPI: the real
 * functions are looked up in the library that the program has loaded, and MPI_COMM_WORLD is found
 * as that library defines it.
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { EXIT_SINGLETON = 1 };

/* MPICH's ABI (mpi.h of MPICH 3.1 and later), and that of the MPI 5 standard (libmpi_abi.so). */
#define MPICH_COMM_WORLD 0x44000000
#define ABI_COMM_WORLD 0x101

typedef int init_function(int *, char ***);
typedef int init_thread_function(int *, char ***, int, int *);
typedef int size_function(void *, int *);

static int find_library(struct dl_phdr_info *info, size_t size, void *found)
{
    const char *base = strrchr(info->dlpi_name, '/');
    void **handle = found;

    (void)size;
    base = base ? base + 1 : info->dlpi_name;
    if (strncmp(base, "libmpi.so", 9) != 0 && strncmp(base, "libmpich.so", 11) != 0 &&
        strncmp(base, "libmpi_abi", 10) != 0 && strncmp(base, "libmpi_cray", 11) != 0)
        return 0;
    *handle = dlopen(info->dlpi_name, RTLD_LAZY | RTLD_NOLOAD);
    return *handle != NULL;
}

/* A library that Python has opened for itself alone is not in the global scope. */
static void *lookup(const char *name)
{
    void *library = NULL, *symbol = dlsym(RTLD_NEXT, name);

    if (symbol == NULL && dl_iterate_phdr(find_library, &library))
        symbol = dlsym(library, name);
    if (symbol == NULL) {
        fprintf(stderr, "slurmkit: error: no MPI library with %s is loaded\n", name);
        _exit(EXIT_SINGLETON);
    }
    return symbol;
}

static void *comm_world(void)
{
    void *library = NULL, *world = dlsym(RTLD_DEFAULT, "ompi_mpi_comm_world");
    Dl_info where;
    const char *base;

    if (world == NULL && dl_iterate_phdr(find_library, &library))
        world = dlsym(library, "ompi_mpi_comm_world");
    if (dladdr(lookup("PMPI_Comm_size"), &where) && where.dli_fname != NULL) {
        base = strrchr(where.dli_fname, '/');
        if (strncmp(base ? base + 1 : where.dli_fname, "libmpi_abi", 10) == 0)
            return (void *)(uintptr_t)ABI_COMM_WORLD;
    }
    return world ? world : (void *)(uintptr_t)MPICH_COMM_WORLD;
}

static void check_world(void)
{
    const char *text = getenv("SLURMKIT_MPI_WORLD"), *rank = getenv("RANK");
    int expected = text ? atoi(text) : 0, size = 0;
    size_function *comm_size;

    if (expected < 1)
        return;
    /* What this program starts is no rank: a child that calls MPI_Init is a world of its own. */
    unsetenv("SLURMKIT_MPI_WORLD");
    *(void **)&comm_size = lookup("PMPI_Comm_size");
    if (comm_size(comm_world(), &size) != 0 || size == expected)
        return;
    /* All of them would say the same. */
    if (rank == NULL || strcmp(rank, "0") == 0 || size != 1)
        fprintf(stderr,
                "slurmkit: error: %d ranks were started, but MPI sees a world of %d: they did not "
                "meet (write launch.mpi: auto or launch.launcher: mpirun; `slurmkit mpi PROGRAM` "
                "says what fits)\n",
                expected, size);
    _exit(EXIT_SINGLETON);
}

int MPI_Init(int *argc, char ***argv)
{
    init_function *init;
    int result;

    *(void **)&init = lookup("PMPI_Init");
    result = init(argc, argv);
    if (result == 0)
        check_world();
    return result;
}

int MPI_Init_thread(int *argc, char ***argv, int required, int *provided)
{
    init_thread_function *init;
    int result;

    *(void **)&init = lookup("PMPI_Init_thread");
    result = init(argc, argv, required, provided);
    if (result == 0)
        check_world();
    return result;
}

/* Fortran's functions do not go through those of C. */
#define FORTRAN_INIT(name, real)            \
    void name(int *error)                   \
    {                                       \
        void (*init)(int *);                \
        *(void **)&init = lookup(real);     \
        init(error);                        \
        check_world();                      \
    }
#define FORTRAN_INIT_THREAD(name, real)                           \
    void name(int *required, int *provided, int *error)           \
    {                                                             \
        void (*init)(int *, int *, int *);                        \
        *(void **)&init = lookup(real);                           \
        init(required, provided, error);                          \
        check_world();                                            \
    }

FORTRAN_INIT(mpi_init_, "pmpi_init_")
FORTRAN_INIT_THREAD(mpi_init_thread_, "pmpi_init_thread_")
