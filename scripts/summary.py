#!/usr/bin/env python3
"""Counts the tests of Meson logs: summary.py LOG...

Each LOG is in the format of meson-logs/testlog.json, one JSON object a line: name, result, returncode, stdout, stderr
(and, from guests, message: why there is no result).
A program that prints TAP counts by its subtests, any other one as one test (exit 77 = skipped). A subtest that never
reported (fewer results than the plan), a crash, a timeout and a non-zero exit without a failed subtest are failures.
Prints what was skipped and why, what failed, and last: N passed, N failed, N skipped. Exit 1: a failure, or no test.
"""
import json
import os
import re
import sys

# cmocka 1.1 writes "ok 1 - name" and "not ok 2 # SKIP name"; TAP and cmocka 2 write "ok 2 - name # SKIP reason".
# Not anchored: a test that prints text without a newline puts its result behind that text.
RESULT = re.compile(r'(?P<no>not )?ok (?P<number>\d+)(?: -)?(?: (?P<rest>.*))?$')
PLAN = re.compile(r'^1\.\.(\d+)\s*(#.*)?$')
SKIP = re.compile(r'#\s*skip\w*[:\s]*(?P<text>.*)', re.I)


class Tally:
    def __init__(self):
        self.passed = 0
        self.failed = []
        self.skipped = []


def last_line(text):
    lines = [line.strip() for line in (text or '').split('\n') if line.strip()]
    return lines[-1] if lines else ''


def skip_entry(match, rest, said):
    """Name and reason of a skipped subtest; cmocka 1.1 has no reason, so it is the line that the test printed."""
    before = rest[:match.start()].strip()
    after = match.group('text').strip()
    name = before or after
    if before and after:
        return name, after
    reasons = [line for line in said if re.match(r'#?\s*skip', line, re.I)] or said
    reason = re.sub(r'^#?\s*(skip\w*\s*:?)?\s*', '', reasons[-1], flags=re.I) if reasons else 'no reason printed'
    return name, reason


class Tap:
    """One program's TAP: several groups (a plan each) one after the other, plans in front or at the end."""

    def __init__(self, program, tally):
        self.program = program
        self.tally = tally
        self.plan = None
        self.count = 0
        self.groups = 0
        self.failures = 0

    def close_group(self):
        if self.plan is None and self.count == 0:
            return
        self.groups += 1
        if self.plan is None:
            self.fail('no plan')
        elif self.count < self.plan:
            self.fail(f'ended after {self.count} of {self.plan} results')
        elif self.count > self.plan:
            self.fail(f'{self.count} results where {self.plan} were planned')
        self.plan = None
        self.count = 0

    def fail(self, text):
        self.failures += 1
        self.tally.failed.append(f'{self.program}: {text}')

    def line(self, text, said):
        """Returns whether the line was TAP."""
        plan = PLAN.match(text)
        if plan:
            if self.plan is not None or self.count == 0:
                self.close_group()
                self.plan = int(plan.group(1))
            else:
                self.plan = int(plan.group(1))
                self.close_group()
            return True
        result = RESULT.search(text)
        if not result:
            return False
        number = int(result.group('number'))
        rest = result.group('rest') or ''
        if number == 0 and result.group('no'):
            self.fail(rest.lstrip('- '))  # cmocka: a group's set-up failed
            return True
        if number != self.count + 1:
            return False
        self.count += 1
        skip = SKIP.search(rest)
        if skip:
            name, reason = skip_entry(skip, rest, said)
            self.tally.skipped.append((f'{self.program}: {name}', reason))
        elif result.group('no'):
            self.fail(rest)
        else:
            self.tally.passed += 1
        return True

    def read(self, stdout):
        said = []
        for text in stdout.split('\n'):
            text = text.rstrip()
            if self.line(text, said):
                said = []
            elif text:
                said.append(text.strip())
        self.close_group()


def count_program(entry, tally):
    program = entry['name'].split(' / ')[-1]  # without Meson's project and suites
    result = entry.get('result', 'ERROR')
    code = entry.get('returncode', 0)
    stdout = entry.get('stdout') or ''
    if result == 'TIMEOUT':
        tally.failed.append(f'{program}: timed out after {entry.get("duration", 0):.0f} s')

    if re.search(r'^1\.\.\d+', stdout, re.M):
        tap = Tap(program, tally)
        tap.read(stdout)
        if code == 77 and not tap.failures and tap.groups:
            tally.skipped.append((program, last_line(stdout)))
        elif code != 0 and not tap.failures and result != 'TIMEOUT':
            what = f'killed by signal {-code}' if code < 0 else f'exit status {code} without a failed subtest'
            tally.failed.append(f'{program}: {what}')
    elif result in ('OK', 'EXPECTEDFAIL'):
        tally.passed += 1
    elif result == 'SKIP':
        reason = entry.get('message') or last_line(stdout) or last_line(re.sub(r'\(test program exited.*\)', '', entry.get('stderr') or ''))
        tally.skipped.append((program, reason or 'no reason printed'))
    elif result != 'TIMEOUT':
        what = f'killed by signal {-code}' if code < 0 else f'exit status {code}' if code else result.lower()
        what = entry.get('message') or what
        tally.failed.append(f'{program}: {what}')


def main():
    tally = Tally()
    for log in sys.argv[1:]:
        if not os.path.exists(log):
            continue
        with open(log, encoding='utf-8', errors='replace') as lines:
            for line in lines:
                count_program(json.loads(line), tally)

    if tally.skipped:
        print('\nSkipped:')
        by_reason = {}
        for name, reason in tally.skipped:
            by_reason.setdefault(reason, []).append(name)
        for reason, names in by_reason.items():
            more = f' and {len(names) - 8} more' if len(names) > 8 else ''
            print(f'  {reason}: {", ".join(names[:8])}{more}')
    if tally.failed:
        print('\nFailed:')
        for name in tally.failed:
            print(f'  {name}')
    ran = tally.passed + len(tally.failed)
    if not ran:
        print('\nno test ran')
    print(f'{tally.passed} passed, {len(tally.failed)} failed, {len(tally.skipped)} skipped')
    return 1 if tally.failed or not ran else 0


if __name__ == '__main__':
    sys.exit(main())
