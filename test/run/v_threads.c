// SPDX-License-Identifier: MIT
/*
 * Threads without OpenMP: v_threads MIB [PAUSE_MS [SIGNAL]]. One thread fills, waits, sends itself the
 * signal if there is one, and then two threads add up half each.
 */
#include "victim.h"

#include <pthread.h>
#include <signal.h>
#include <time.h>

static uint8_t *data;
static size_t len;

static void pause_ms(long ms)
{
	const struct timespec ts = { ms / 1000, ms % 1000 * 1000000 };

	(void)nanosleep(&ts, NULL);
}

static void *add(void *arg)
{
	size_t half = (size_t)(uintptr_t)arg * (len / 2);
	uintptr_t sum = 0;

	for (size_t i = 0; i < len / 2; i++)
		sum += data[half + i];
	return (void *)sum;
}

int main(int argc, char **argv)
{
	uintptr_t sum = 0;
	pthread_t thread[2];

	if (argc < 2)
		return 2;
	len = strtoul(argv[1], NULL, 10) << 20;
	data = filled(len);
	if (argc > 3)
		EXPECT(!raise(atoi(argv[3])));
	if (argc > 2)
		pause_ms(atol(argv[2]));
	for (uintptr_t i = 0; i < 2; i++)
		EXPECT(!pthread_create(&thread[i], NULL, add, (void *)i));
	for (int i = 0; i < 2; i++) {
		void *part;

		EXPECT(!pthread_join(thread[i], &part));
		sum += (uintptr_t)part;
	}
	EXPECT(is_filled(data, len));
	printf("sum %llu\n", (unsigned long long)sum);
	return 0;
}
