#!/usr/bin/env python3
"""Bans that a compiler does not know. tidy.py [--list [-0]] [ROOT]

  atomic    __atomic_, __sync_ outside src/base/atomic.h; <stdatomic.h> in the shipped folders
  mm        a system call, a thread or an operating-system header in src/mm: everything goes through src/os/os.h
  length    a function of more than 70 lines that tidy-allow.txt does not name
  todo      TODO, FIXME or XXX without an issue number, as in TODO(#12)

Prints PATH:LINE: RULE: MESSAGE for each hit; exit 1 if there was one. --list prints the files looked at.
"""
import os
import re
import sys

MAX_LINES = 70
SHIPPED = ('src/', 'preload/', 'kvm/', 'sim/', 'tools/')

MM_HEADERS = re.compile(
    r'^\s*#\s*include\s*<(sys/(?!types|param|cdefs|queue)\S+|linux/\S+|asm/\S+|unistd\.h|pthread\.h|signal\.h|sched\.h|'
    r'fcntl\.h|poll\.h|time\.h|numa\.h|numaif\.h|threads\.h|hwloc\.h)>')
MM_CALLS = re.compile(
    r'(?<![\w.>])(syscall|mmap|munmap|mprotect|mremap|madvise|mlock|msync|mincore|ioctl|move_pages|mbind|get_mempolicy|'
    r'open|openat|close|read|write|pread|pwrite|poll|fork|sigaction|raise|kill|abort_handler|nanosleep|usleep|sleep|'
    r'sched_\w+|clock_gettime|gettimeofday|getcpu|futex|pthread_\w+|thrd_\w+|mtx_\w+)\s*\(')


def files(root):
    for top, dirs, names in os.walk(root):
        dirs[:] = sorted(d for d in dirs if not d.startswith(('.', 'build', 'b-')) and d != 'guest-out')
        for name in sorted(names):
            if name.endswith(('.c', '.h')):
                yield os.path.relpath(os.path.join(top, name), root)


def blank(text):
    """The same text with comments and literals blanked out, line for line."""
    pattern = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)

    def wipe(match):
        found = match.group(0)
        if found[0] in '"\'':
            return found[0] + ' ' * (len(found) - 2) + found[0]
        return re.sub(r'[^\n]', ' ', found)

    # An include with quotes keeps its name: nobody needs it here, and <...> ones hold no literals.
    return pattern.sub(wipe, text)


def functions(lines):
    """(name, first line, length) of every function whose braces stand in column 0, as the format demands."""
    start = None
    for number, line in enumerate(lines, 1):
        if line.startswith('{') and start is None:
            head = ' '.join(lines[max(0, number - 12):number - 1])
            head = head[max(head.rfind(';'), head.rfind('}')) + 1:]
            match = re.search(r'(\w+)\s*\([^;{}]*\)[^;{}()]*$', head) or re.search(r'(\w+)\s*\(', head)
            start = (match.group(1) if match else '?', number)
        elif line.startswith('}') and start is not None:
            yield start[0], start[1], number - start[1] - 1
            start = None


def check(path, text, allowed):
    code = blank(text)
    lines = code.split('\n')
    for number, line in enumerate(lines, 1):
        if path != 'src/base/atomic.h' and re.search(r'\b(__atomic_|__sync_)', line):
            yield number, 'atomic', 'use the wrappers of src/base/atomic.h, which have the order in their names'
        if path.startswith(SHIPPED) and path != 'src/base/atomic.h' and re.match(r'\s*#\s*include\s*<stdatomic\.h>', line):
            yield number, 'atomic', 'use src/base/atomic.h instead of <stdatomic.h>'
        if path.startswith('src/mm/'):
            if MM_HEADERS.match(line):
                yield number, 'mm', 'the engine does not know the operating system; go through src/os/os.h'
            call = MM_CALLS.search(line)
            if call:
                yield number, 'mm', f'call of {call.group(1)}() in the engine; go through src/os/os.h'
    for number, line in enumerate(text.split('\n'), 1):
        if re.search(r'\b(TODO|FIXME|XXX)\b(?!\s*\(#\d+\))', line):
            yield number, 'todo', 'name the issue, as in TODO(#12)'
    for name, number, length in functions(lines):
        if length > MAX_LINES and f'{path}:{name}' not in allowed:
            yield number, 'length', f'{name}() has {length} lines, more than {MAX_LINES}'


def main():
    args = sys.argv[1:]
    here = os.path.dirname(os.path.abspath(__file__))
    roots = [a for a in args if not a.startswith('-')]
    root = roots[0] if roots else os.path.dirname(here)
    if '--list' in args:
        end = '\0' if '-0' in args else '\n'
        for path in files(root):
            sys.stdout.write(path + end)
        return 0

    allowed = set()
    with open(os.path.join(here, 'tidy-allow.txt'), encoding='utf-8') as listing:
        for line in listing:
            if line.strip() and not line.startswith('#'):
                allowed.add(line.split()[0])
    hits = 0
    for path in files(root):
        with open(os.path.join(root, path), encoding='utf-8') as source:
            for number, rule, message in check(path, source.read(), allowed):
                print(f'{path}:{number}: {rule}: {message}')
                hits += 1
    return 1 if hits else 0


if __name__ == '__main__':
    sys.exit(main())
