// SPDX-License-Identifier: MIT
/* A program that is linked statically, or made setuid by the test: prints who it is. */
#include <stdio.h>
#include <unistd.h>

int main(void)
{
	printf("uid %d\n", (int)geteuid());
	return 5;
}
