#!/usr/bin/env python3
"""The conformance table: which test shows which case of the semantics, in the simulator and on real memory.

conformance.py LOG               print the table for the results in LOG (Meson's testlog.json)
conformance.py --check           does doc/conformance.md say what the tests' sources say? Exit 1: no.

A test names its cases in its table of tests: CASES(name, "14 15") or REAL_CASES(name, "14 15"), and prints them with
its result. A test below test/real or test/api, or called t_real_*, runs on real memory, any other one in the simulator. A case counts as
shown where a test that names it passed and none that names it failed.
"""
import json
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
DOC = os.path.join(ROOT, 'doc/conformance.md')
WORLDS = ('sim', 'real')
LAST = 155
SOURCE = re.compile(r'\b(?:REAL_)?CASES(?:_WITH)?\(\s*(\w+)\s*,\s*"([\d ]+)"')
RESULT = re.compile(r'(not )?ok \d+(?: -)? (# SKIP )?(\w+)(?: \[[\w/]+\])? \[cases ([\d ]+)\]')
HEAD = """# Conformance

What `./dev conformance` printed: for each of the %d cases of the semantics, the tests that show it in the simulator and
on real memory. "not shown yet" is what it says; "not applicable" is what user space cannot observe.
The tests of the simulator run the shipping engine (src/mm) on the machine of sim/.

| case | what | simulated | real memory |
|---|---|---|---|
"""


def cases():
    """number -> (title, reason why it is not applicable or None)"""
    found = {}
    with open(os.path.join(ROOT, 'test/conformance/cases.txt'), encoding='utf-8') as lines:
        for line in lines:
            if line.startswith('#'):
                continue
            number, text = line.rstrip('\n').split(' ', 1)
            title, _, reason = text.partition(' | ')
            found[int(number)] = (title, reason or None)
    assert sorted(found) == list(range(1, LAST + 1)), 'cases.txt: not every case once'
    return found


def world_of(path):
    return 'real' if path.startswith(('test/real/', 'test/api/', 'test/conformance/t_real_')) else 'sim'


def named_by_sources():
    """(world, test) -> (path, set of cases)"""
    found = {}
    for top, dirs, files in os.walk(os.path.join(ROOT, 'test')):
        dirs.sort()
        for name in sorted(files):
            path = os.path.relpath(os.path.join(top, name), ROOT)
            if not name.endswith('.c'):
                continue
            with open(os.path.join(ROOT, path), encoding='utf-8') as text:
                for test, numbers in SOURCE.findall(text.read()):
                    key = (world_of(path), test)
                    if key in found:
                        sys.exit(f'conformance: two tests are called {test}: {found[key][0]}, {path}')
                    found[key] = (path, {int(n) for n in numbers.split()})
    for path, numbers in found.values():
        if numbers - set(range(1, LAST + 1)):
            sys.exit(f'conformance: {path} names a case that there is not')
    return found


def results_of(log):
    """(world, test) -> set of 'passed', 'failed', 'skipped'"""
    found = {}
    with open(log, encoding='utf-8', errors='replace') as lines:
        for line in lines:
            entry = json.loads(line)
            suites = entry['name'].split(' / ')[0]
            world = 'real' if re.search(r'\b(real|api)\b', suites) else 'sim'
            for text in (entry.get('stdout') or '').split('\n'):
                match = RESULT.search(text)
                if not match:
                    continue
                bad, skip, test = match.group(1), match.group(2), match.group(3)
                what = 'skipped' if skip else 'failed' if bad else 'passed'
                found.setdefault((world, test), set()).add(what)
    return found


def cell(named, results, world, case):
    """Text for the table, and whether the case is shown."""
    names, shown, failed = [], False, False
    for (where, test), (path, numbers) in sorted(named.items()):
        if where != world or case not in numbers:
            continue
        # Without results (--check): as if all had passed.
        got = {'passed'} if results is None else results.get((where, test), set())
        failed |= 'failed' in got
        name = f'{os.path.basename(path)[2:-2]}: {test}'
        if 'failed' in got:
            name += ' (FAILED)'
        elif 'passed' in got:
            shown = True
        else:
            name += ' (skipped here)'
        names.append(name)
    return '<br>'.join(names) or 'not shown yet', shown and not failed


def table(named, results):
    text = HEAD % LAST
    count = dict.fromkeys(WORLDS, 0)
    outside = 0
    for number, (title, reason) in cases().items():
        cells = []
        for world in WORLDS:
            what, shown = cell(named, results, world, number)
            count[world] += shown
            cells.append(what)
        if reason:
            outside += 1
            cells = [f'not applicable: {reason}'] * 2
        text += f'| {number} | {title} | {cells[0]} | {cells[1]} |\n'
    return text + (f'\nconformance: sim {count["sim"]}/{LAST}, real {count["real"]}/{LAST}, '
                   f'not applicable {outside}\n')


def check():
    """The document may say that a machine skipped a test; then its last line counts fewer on real memory."""
    def comparable(text):
        skipped = ' (skipped here)' in text
        text = text.replace(' (skipped here)', '')
        return (re.sub(r'real \d+', 'real N', text) if skipped else text), skipped

    want = table(named_by_sources(), None)
    try:
        with open(DOC, encoding='utf-8') as doc:
            have, skipped = comparable(doc.read())
    except FileNotFoundError:
        have, skipped = '', False
    if skipped:
        want = re.sub(r'real \d+', 'real N', want)
    if have == want:
        return 0
    for old, new in zip(have.split('\n'), want.split('\n')):
        if old != new:
            print(f'doc/conformance.md: {old}\nthe tests:          {new}')
            break
    print('doc/conformance.md is out of date: ./dev conformance --write')
    return 1


def main():
    if sys.argv[1:] == ['--check']:
        return check()
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    named = named_by_sources()
    results = results_of(sys.argv[1])
    print(table(named, results), end='')
    missing = [key for key in named if key not in results]
    for world, test in missing:
        print(f'conformance: {test} ({world}) did not report', file=sys.stderr)
    return 1 if missing or any('failed' in got for got in results.values()) else 0


if __name__ == '__main__':
    sys.exit(main())
