/* SPDX-License-Identifier: MIT */
/*
 * Which cases of the semantics a test shows. In a table of tests
 *
 *	CASES(name_of_the_test, "14 15 17"),
 *
 * instead of cmocka_unit_test(): the cases are part of the test's name, so that they are printed with
 * its result, where scripts/conformance.py finds them. Name a case only if the test fails when the
 * engine does not keep it.
 */
#ifndef TEST_CASES_H
#define TEST_CASES_H

#define CASES_NAME(fn, cases) fn " [cases " cases "]"
#define CASES(fn, cases)                                        \
	{                                                       \
		.name = CASES_NAME(#fn, cases), .test_func = fn \
	}
/* The same with a set-up and a tear-down of its own. */
#define CASES_WITH(fn, cases, setup, teardown)                                        \
	{                                                                             \
		.name = CASES_NAME(#fn, cases), .test_func = fn, .setup_func = setup, \
		.teardown_func = teardown                                             \
	}

#endif
