#!/usr/bin/env python3
"""Runs the tests of suite 'real' in guests, one boot for each entry of the matrix, and writes the results.

A matrix entry is KERNEL-NODES, with a `c` behind it when the last node has no CPUs: 6.12-4c. Results are in the format
of Meson's testlog.json (what summary.py reads), named guest:6.12-4c/TEST. Tests that are also in suite `nobody` run a
second time without privileges, as guest:6.12-4c/nobody/TEST.
"""
import argparse
import copy
import json
import os
import re
import shlex
import subprocess
import sys
import threading
import time
import traceback

import guest

RESERVE_S = 80  # of the time for all guests, kept for each that is still to come
# Commands, whose tests bring emulated nodes with them: once for each kernel, where there are two nodes.
ONCE = {'run', 'tools'}
SLOWNESS = 3  # emulation against the host: factor for the tests' own time limits

# One test. Its output goes into files, then with its status to stdout as one record: should a later test take the guest
# down, nothing is lost. Afterwards everything that it left running is killed.
RUNNER = r'''#!/bin/sh
before=" $(echo /proc/[0-9]*) "
one() {
	number=$1 limit=$2 user=$3 script=$4
	read -r start rest </proc/uptime
	echo "NH-START $number"
	if [ "$user" = nobody ]; then
		setsid timeout -s KILL "$limit" su -p -s /bin/sh nobody "$script" </dev/null >/nh/t.out 2>/nh/t.err &
	else
		setsid timeout -s KILL "$limit" "$script" </dev/null >/nh/t.out 2>/nh/t.err &
	fi
	wait $!
	status=$?
	read -r end rest </proc/uptime
	for process in /proc/[0-9]*; do
		case "$before /proc/$$ " in
		*" $process "*) ;;
		*) kill -9 "${process#/proc/}" 2>/dev/null ;;
		esac
	done
	rm -rf /dev/shm/* /tmp/nh-*
	echo "NH-TEST $number $status $start $end $(stat -c %s /nh/t.out) $(stat -c %s /nh/t.err)"
	cat /nh/t.out /nh/t.err
}
'''


class Test:
    def __init__(self, entry, user, build, once=False):
        self.once = once
        self.name = ('nobody/' if user == 'nobody' else '') + entry['name']
        self.user = user
        self.command = list(entry['cmd'])
        self.env = dict(entry['env'])
        self.cwd = entry['workdir'] or build  # where Meson runs it: arguments may be relative to that
        self.limit_s = int(entry['timeout'] or 120) * SLOWNESS
        self.depends = entry['depends']
        self.record = None

    def script(self, env):
        lines = ['#!/bin/sh', f'mkdir -p {shlex.quote(self.cwd)}; cd {shlex.quote(self.cwd)} || exit 125']
        lines += [f'export {k}={shlex.quote(v)}' for k, v in {'CMOCKA_MESSAGE_OUTPUT': 'TAP', **env, **self.env}.items()]
        lines.append('exec ' + ' '.join(shlex.quote(word) for word in self.command))
        return '\n'.join(lines + ['']).encode()

    def files(self, targets):
        words = self.command + [part for value in self.env.values() for part in value.split(':')]
        for name in self.depends:
            words += targets.get(name, [])
        paths = [os.path.join(self.cwd, word) for word in words]
        return [path for path in paths if os.path.isfile(path)]

    def obstacle(self):
        """Why the test cannot run in a guest, or ''."""
        try:
            with open(self.command[0], 'rb') as file:
                first = file.readline(200)
        except OSError as error:
            return str(error)
        if first.startswith(b'#!') and b'python' in first:
            return 'needs python, which the guest does not have'
        return ''


def introspect(build, what):
    return json.loads(subprocess.run(['meson', 'introspect', '--' + what, build], stdout=subprocess.PIPE, check=True).stdout)


def real_tests(build):
    tests = []
    for entry in introspect(build, 'tests'):
        suites = {suite.split(':')[-1] for suite in entry['suite']}
        if 'real' in suites:
            once = bool(suites & ONCE)
            tests.append(Test(entry, 'root', build, once))
            if 'nobody' in suites:
                tests.append(Test(entry, 'nobody', build, once))
    return tests


class Records:
    """Takes the guest's output apart: `NH-START number`, then `NH-TEST number status start end bytes bytes` and that
    many bytes of stdout and of stderr."""

    def __init__(self, tests, label):
        self.tests = tests
        self.label = label
        self.data = b''
        self.running = None

    def feed(self, data):
        self.data += data
        while True:
            head, newline, rest = self.data.partition(b'\n')
            if newline and head.startswith(b'NH-START '):
                self.running = self.tests[int(head.split()[1])]
                self.data = rest
                continue
            match = re.fullmatch(rb'NH-TEST (\d+) (\d+) ([\d.]+) ([\d.]+) (\d+) (\d+)', head)
            if not match or not newline:
                return
            number, status = int(match[1]), int(match[2])
            nr_out, nr_err = int(match[5]), int(match[6])
            if len(rest) < nr_out + nr_err:
                return
            self.data = rest[nr_out + nr_err:]
            self.take(self.tests[number], status, float(match[4]) - float(match[3]),
                      rest[:nr_out].decode(errors='replace'), rest[nr_out:nr_out + nr_err].decode(errors='replace'))

    def take(self, test, status, duration, stdout, stderr):
        self.running = None
        timed_out = status == 137 and duration >= test.limit_s - 1
        result = 'TIMEOUT' if timed_out else {0: 'OK', 77: 'SKIP'}.get(status, 'FAIL')
        code = 128 - status if 128 < status < 192 else status
        test.record = {'name': f'guest:{self.label}/{test.name}', 'result': result, 'returncode': code,
                       'duration': duration, 'stdout': stdout, 'stderr': stderr}
        print(f'{self.label:8} {test.name:40} {result:8} {duration:6.1f} s', flush=True)
        if result in ('FAIL', 'TIMEOUT'):
            print(''.join(f'    {line}\n' for line in (stdout + stderr).split('\n')[-30:]), end='', flush=True)


def parse_label(label):
    match = re.fullmatch(r'([\d.]+)-(\d+)(c?)', label)
    if not match:
        raise SystemExit(f"guest-tests: '{label}' is not KERNEL-NODES[c]")
    return match[1], int(match[2]), bool(match[3])


class Matrix:
    """One entry of the matrix: boots its guest, and again without the test that took it down."""

    def __init__(self, label, tests, build, targets):
        self.label = label
        nodes = parse_label(label)[1]
        self.tests = [copy.deepcopy(test) for test in tests if nodes == 2 or not test.once]
        self.build = build
        self.targets = targets
        self.kernel, self.nodes, self.cpuless = parse_label(label)

    def say(self, text):
        print(f'{self.label:8} {text}', flush=True)

    def set_record(self, test, result, text):
        test.record = {'name': f'guest:{self.label}/{test.name}', 'result': result, 'duration': 0, 'stdout': '',
                       'stderr': '', 'returncode': 77 if result == 'SKIP' else 1, 'message': text}
        self.say(f'{test.name:40} {result:8} {text}')

    def fill(self, image, tests, timeout_s):
        """Puts the tests and the runner into the image."""
        env = {'NH_GUEST': self.label, 'NH_GUEST_NODES': str(self.nodes), 'NH_GUEST_CPULESS': str(int(self.cpuless))}
        for file in guest.build_outputs(self.build):
            image.add_file(file)
        script = RUNNER
        for number, test in enumerate(tests):
            test.limit_s = min(test.limit_s, max(10, timeout_s // 2))  # one that hangs leaves time for the others
            for file in test.files(self.targets):
                image.add_file(file)
            image.add_data(f'/nh/test-{number}', test.script(env), 0o755)
            script += f'one {number} {test.limit_s} {test.user} /nh/test-{number}\n'
        image.add_data('/nh/tests', script.encode(), 0o755)

    def boot(self, tests, timeout_s):
        """One boot; whether another one makes sense."""
        words = ['--kernel', self.kernel, '--nodes', str(self.nodes), '--timeout', str(timeout_s), '--cwd', '/tmp',
                 '--kvm', '--direct']
        options = guest.parser().parse_args(words + (['--cpuless'] if self.cpuless else []) + ['--', 'tests'])
        machine = guest.Guest(options)
        records = Records(tests, self.label)
        errors = []
        try:
            self.fill(machine.image, tests, timeout_s)
            status = machine.run(['/nh/tests'], {}, records.feed, errors.append)
        finally:
            machine.close()
        boot_s = machine.control.boot_s
        self.say(f'up after {boot_s:.1f} s' if boot_s is not None else 'did not come up')
        if not machine.message:
            return False
        print(b''.join(errors).decode(errors='replace') + machine.message, flush=True)
        if records.running:
            what = 'ran when the time was up' if status == guest.EXIT_TIMEOUT else 'took the guest down'
            self.set_record(records.running, 'FAIL', f'{what}: {machine.message.splitlines()[0]}')
        return status != guest.EXIT_TIMEOUT and records.running is not None

    def run(self, timeout_s):
        deadline = time.monotonic() + timeout_s
        for test in self.tests:
            if test.obstacle():
                self.set_record(test, 'SKIP', test.obstacle())
        try:
            more = True
            while more:
                left = [test for test in self.tests if test.record is None]
                more = bool(left) and self.boot(left, max(30, int(deadline - time.monotonic())))
        except guest.Unavailable as problem:
            for test in self.tests:
                if test.record is None:
                    self.set_record(test, 'SKIP', f'no guest: {problem}')
        for test in self.tests:
            if test.record is None:
                self.set_record(test, 'FAIL', 'did not run')
        return [test.record for test in self.tests]


def main():
    args = argparse.ArgumentParser()
    args.add_argument('--build', required=True, help='the Meson build tree')
    args.add_argument('--results', required=True, help='file to write')
    args.add_argument('--matrix', default='6.1-2 6.1-4c 6.12-2 6.12-4c', help='guests, e.g. "6.1-2 6.12-4c"')
    args.add_argument('--budget', type=int, default=840, metavar='S', help='time for all guests together (840)')
    args.add_argument('--jobs', type=int, default=2 if (os.cpu_count() or 1) >= 4 else 1, help='guests at a time')
    args.add_argument('--only', metavar='REGEX', help='only the tests whose name matches')
    options = args.parse_args()

    build = os.path.realpath(options.build)
    tests = [test for test in real_tests(build) if re.search(options.only or '', test.name)]
    targets = {target['id']: target['filename'] for target in introspect(build, 'targets')}
    labels = options.matrix.split()
    deadline = time.monotonic() + options.budget
    results = []
    lock = threading.Lock()

    def worker():
        while True:
            with lock:
                if not labels:
                    return
                label = labels.pop(0)
                # What earlier guests did not use is there for the later ones.
                share = deadline - time.monotonic() - RESERVE_S * len(labels) / options.jobs
            try:
                records = Matrix(label, tests, build, targets).run(max(30, share))
            except Exception as problem:  # pylint: disable=broad-except
                traceback.print_exc()
                records = [{'name': f'guest:{label}', 'result': 'FAIL', 'returncode': 1, 'message': repr(problem)}]
            with lock:
                results.extend(records)

    for label in labels:
        parse_label(label)
    if tests:
        threads = [threading.Thread(target=worker) for _ in range(options.jobs)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    else:
        print("guests: no test of suite 'real' in this tree")
    with open(options.results, 'w', encoding='utf-8') as file:
        for record in results:
            file.write(json.dumps(record) + '\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
