/* Bounded parsing and formatting of numbers, words and lists. */
#include "text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void sk_set_add(struct sk_set *set, uint32_t number)
{
	if (number < SK_SET_BITS)
		set->words[number / 64] |= UINT64_C(1) << (number % 64);
}

bool sk_set_has(const struct sk_set *set, uint32_t number)
{
	return number < SK_SET_BITS && (set->words[number / 64] >> (number % 64) & 1);
}

void sk_set_unite(struct sk_set *set, const struct sk_set *other)
{
	for (size_t i = 0; i < SK_SET_WORDS; i++)
		set->words[i] |= other->words[i];
}

void sk_set_intersect(struct sk_set *set, const struct sk_set *other)
{
	for (size_t i = 0; i < SK_SET_WORDS; i++)
		set->words[i] &= other->words[i];
}

bool sk_set_equal(const struct sk_set *set, const struct sk_set *other)
{
	return memcmp(set->words, other->words, sizeof(set->words)) == 0;
}

uint32_t sk_set_count(const struct sk_set *set)
{
	uint32_t count = 0;

	for (size_t i = 0; i < SK_SET_WORDS; i++)
		count += (uint32_t)__builtin_popcountll(set->words[i]);
	return count;
}

int sk_parse_number(const char *text, size_t size, uint32_t max, uint32_t *number)
{
	uint64_t value = 0;

	if (size == 0 || size > 10)
		return -1;
	for (size_t i = 0; i < size; i++) {
		if (text[i] < '0' || text[i] > '9')
			return -1;
		value = value * 10 + (uint64_t)(text[i] - '0');
	}
	if (value > max)
		return -1;
	*number = (uint32_t)value;
	return 0;
}

static int add_range(struct sk_set *set, const char *text, size_t size)
{
	const char *dash = memchr(text, '-', size);
	size_t first_size = dash ? (size_t)(dash - text) : size;
	uint32_t first, last;

	if (sk_parse_number(text, first_size, SK_SET_BITS - 1, &first) != 0)
		return -1;
	last = first;
	if (dash && sk_parse_number(dash + 1, size - first_size - 1, SK_SET_BITS - 1, &last) != 0)
		return -1;
	if (last < first)
		return -1;
	for (uint32_t number = first; number <= last; number++)
		sk_set_add(set, number);
	return 0;
}

int sk_set_parse(struct sk_set *set, const char *text, size_t size)
{
	memset(set, 0, sizeof(*set));
	while (size > 0) {
		const char *comma = memchr(text, ',', size);
		size_t part = comma ? (size_t)(comma - text) : size;

		if (add_range(set, text, part) != 0)
			return -1;
		if (!comma)
			return 0;
		text += part + 1;
		size -= part + 1;
		if (size == 0)
			return -1; /* nothing behind the last comma */
	}
	return 0;
}

void sk_set_format(const struct sk_set *set, char *buffer, size_t size)
{
	static const char more[] = "...";
	size_t used = 0;

	if (size == 0)
		return;
	buffer[0] = '\0';
	for (uint32_t first = 0; first < SK_SET_BITS; first++) {
		char part[32];
		uint32_t last = first;
		int length;

		if (!sk_set_has(set, first))
			continue;
		while (sk_set_has(set, last + 1))
			last++;
		if (last == first)
			length = snprintf(part, sizeof(part), "%s%u", used ? "," : "", first);
		else
			length = snprintf(part, sizeof(part), "%s%u-%u", used ? "," : "", first, last);
		if (length < 0 || used + (size_t)length + sizeof(more) > size) {
			if (used + sizeof(more) <= size)
				memcpy(buffer + used, more, sizeof(more));
			return;
		}
		memcpy(buffer + used, part, (size_t)length + 1);
		used += (size_t)length;
		first = last;
	}
}

int sk_copy(char *buffer, size_t buffer_size, const char *text, size_t size)
{
	if (size >= buffer_size || memchr(text, '\0', size))
		return -1;
	memcpy(buffer, text, size);
	buffer[size] = '\0';
	return 0;
}

int sk_fail(char *buffer, size_t size, const char *format, ...)
{
	va_list values;

	va_start(values, format);
	if (vsnprintf(buffer, size, format, values) < 0 && size > 0)
		*buffer = '\0';
	va_end(values);
	return -1;
}

const char *sk_env_find(char *const *env, const char *name)
{
	size_t size = strlen(name);

	for (; env && *env; env++)
		if (strncmp(*env, name, size) == 0 && (*env)[size] == '=')
			return *env + size + 1;
	return NULL;
}

int sk_first_host(const char *hostlist, char *buffer, size_t size)
{
	bool inside = false, skip = false;
	size_t used = 0;

	for (const char *c = hostlist; *c; c++) {
		if (*c == '[') {
			inside = true;
		} else if (*c == ']') {
			inside = skip = false;
		} else if (inside && (*c == ',' || *c == '-')) {
			skip = true;
		} else if (!inside && *c == ',') {
			break;
		} else if (!skip) {
			if (used + 1 >= size)
				return -1;
			buffer[used++] = *c;
		}
	}
	if (used == 0 || used >= size)
		return -1;
	buffer[used] = '\0';
	return 0;
}
