// SPDX-License-Identifier: MIT
#include "base.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void nhi_assert_fail(const char *cond, const char *file, int line)
{
	char number[12], *p = &number[sizeof(number) - 1];
	const char *part[] = { "numahint: ", file, ":", NULL, ": assertion failed: ", cond, "\n" };

	*p = '\0';
	do {
		*--p = (char)('0' + line % 10);
	} while (line /= 10);
	part[3] = p;
	for (size_t i = 0; i < NHI_ARRAY_SIZE(part); i++)
		(void)!write(2, part[i], strlen(part[i]));
	abort();
}
