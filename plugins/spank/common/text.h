/* Bounded parsing and formatting of numbers, words and lists; no Slurm, no allocation. */
#ifndef SLURMKIT_TEXT_H
#define SLURMKIT_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SK_SET_BITS 4096u
#define SK_SET_WORDS (SK_SET_BITS / 64u)

/* A set of small numbers: CPUs, NUMA nodes, devices. The kernel reads and writes the same layout. */
struct sk_set {
	uint64_t words[SK_SET_WORDS];
};

void sk_set_add(struct sk_set *set, uint32_t number);
bool sk_set_has(const struct sk_set *set, uint32_t number);
void sk_set_unite(struct sk_set *set, const struct sk_set *other);
void sk_set_intersect(struct sk_set *set, const struct sk_set *other);
bool sk_set_equal(const struct sk_set *set, const struct sk_set *other);
uint32_t sk_set_count(const struct sk_set *set);

/* Read a list such as 0-13,112-125 of `size` bytes; the empty list is the empty set.
 * Returns 0, or -1 when it is no list or a number does not fit. */
int sk_set_parse(struct sk_set *set, const char *text, size_t size);

/* Write the list; what does not fit is cut off and replaced by "...". */
void sk_set_format(const struct sk_set *set, char *buffer, size_t size);

/* Read a decimal number of `size` digits; -1 when it is none or is greater than `max`. */
int sk_parse_number(const char *text, size_t size, uint32_t max, uint32_t *number);

/* Copy `size` bytes and end them with NUL; -1 when the buffer is too small or a byte is NUL. */
int sk_copy(char *buffer, size_t buffer_size, const char *text, size_t size);

/* Write a message, cut off where it does not fit; always -1, for `return sk_fail(...)`. */
__attribute__((format(printf, 3, 4))) int sk_fail(char *buffer, size_t size, const char *format, ...);

/* Find NAME=value in an environment; NULL when it is not set. */
const char *sk_env_find(char *const *env, const char *name);

/* Copy the first host of a hostlist such as n[3-9]-ib,x: n3-ib. Returns 0, or -1. */
int sk_first_host(const char *hostlist, char *buffer, size_t size);

#endif
